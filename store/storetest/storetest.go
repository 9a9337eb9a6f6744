// Package storetest holds the promises of core.Store as tests. A store's own
// test file calls [Run] and, if it survives its process, [RunDurable]; it adds
// only what is truly its own. A fault found in one store becomes a test here.
package storetest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"cloudsettle/core"
)

// Opener makes a fresh, empty store for one test. It registers the clean-up;
// the suite may close the store before that.
type Opener func(t *testing.T) core.Store

// Run checks every promise that a store keeps while it is open.
func Run(t *testing.T, open Opener) {
	for _, p := range slices.Concat(
		ofTransactions(), ofValues(), ofScans(), ofNouns(), ofMoney(),
	) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			p.test(t, s)
			if err := s.Check(context.Background()); err != nil && !errors.Is(err, core.ErrUnavailable) {
				t.Errorf("Check() after the test = %v", err)
			}
		})
	}
}

// promise is one thing that every store does.
type promise struct {
	name string
	test func(*testing.T, core.Store)
}

func ofTransactions() []promise {
	return []promise{
		{"ReadYourWrites", readYourWrites},
		{"LookAheadChangesNothing", lookAhead},
		{"RollbackLeavesNothing", rollbackLeavesNothing},
		{"PanicRollsBack", panicRollsBack},
		{"GoexitRollsBack", goexitRollsBack},
		{"ClosureMayRunAgain", closureMayRunAgain},
		{"NoNestedUpdate", noNestedUpdate},
		{"ClaimOnce", claimOnce},
		{"ClaimsOfAScopeAreDropped", claimsAreDropped},
		{"NoLostUpdate", noLostUpdate},
		{"NoWriteSkew", noWriteSkew},
		{"StaleRevisionIsErrConflict", staleRevision},
		{"FailuresLeaveNeighboursAlone", neighbours},
		{"SnapshotDoesNotMove", snapshotDoesNotMove},
		{"CanceledContextCommitsNothing", canceledContext},
		{"LostCommitReplyAppliesOnce", lostCommitReply},
		{"TransactionEndsWithItsFunction", transactionEnds},
		{"CloseWaits", closeWaits},
		{"ClosedIsErrUnavailable", closedIsUnavailable},
		{"ModelAgrees", modelAgrees},
	}
}

func ofValues() []promise {
	return []promise{
		{"NotFoundIsErrNotFound", notFound},
		{"AllFieldsReturn", allFieldsReturn},
		{"ValuesAreCopies", valuesAreCopies},
		{"TimesAreUTCMicroseconds", timesAreUTC},
		{"MoneyIsExact", moneyIsExact},
		{"EmptyAndNilAreSame", emptyAndNil},
		{"AnyUTF8", anyUTF8},
		{"KeysAreChecked", keysAreChecked},
	}
}

func ofScans() []promise {
	return []promise{
		{"ScanOrderIsByteOrder", scanOrder},
		{"ScanSeesOwnWrites", scanSeesOwnWrites},
		{"ScanBreakReleases", scanBreakReleases},
		{"PageTokensAreStable", pageTokens},
		{"ListsNarrow", listsNarrow},
		{"JournalIsNewestFirst", journalNewestFirst},
		{"RejectionsAreBounded", rejectionsBounded},
	}
}

func ofNouns() []promise {
	return []promise{
		{"NamesAreUnique", namesAreUnique},
		{"NamesFollowTheSubscription", namesFollow},
		{"LoginsAreUnique", loginsAreUnique},
		{"OneBindingHolds", oneBindingHolds},
		{"LeaseExpires", leaseExpires},
		{"TaskDueIsWhatCanBeLeased", taskDue},
		{"LostLeaseHasNoEffect", lostLease},
		{"RenewedLeaseLasts", renewedLease},
		{"NamesAreLeasedOnce", namesAreLeased},
		{"OneOfManyGetsTheName", oneGetsTheName},
		{"AppendUsageTwiceIsOnce", appendUsageTwice},
		{"UsageKeepsTheLastQuantity", usageKeepsLast},
		{"UsageBelongsToItsDay", usageBelongs},
		{"UsageRevisionCountsChanges", usageRevisions},
		{"SealedUsageStays", sealedStays},
		{"SealIsOfARevision", sealIsOfARevision},
		{"SealCutsOff", sealCutsOff},
		{"SealsAreJudgedOneByOne", sealsTogether},
		{"UnbilledComesWithItsPayer", unbilledWithPayer},
		{"UnbilledIsCutIntoRanges", unbilledRanges},
		{"UsageIsScannedByWorkspace", usageScan},
		{"UsageDaysWaitUntilSealed", usageDays},
		{"BadUsageStoresNothing", badUsage},
	}
}

func ofMoney() []promise {
	return []promise{
		{"PriceBooksAreInsertOnly", pricesAreInsertOnly},
		{"DailyBillsAreInsertOnly", dailyBillsAreInsertOnly},
		{"DailyBillsAreListed", dailyBillsAreListed},
		{"MonthlyBillsAreListed", monthlyBillsAreListed},
		{"NotesAreInsertOnly", notesAreInsertOnly},
		{"NotesAreListed", notesAreListed},
		{"RunsAreListed", runsAreListed},
		{"BadPagesAreRefused", badPages},
		{"BillsAreExact", billsAreExact},
		{"BillingIsCopied", billingIsCopied},
		{"EmptyBillingListsAreNil", emptyBilling},
		{"LedgerIsAChain", ledgerIsAChain},
		{"LedgerLosesNothing", ledgerLosesNothing},
		{"LedgerHeadsAreListed", headsAreListed},
		{"LedgerIsExact", ledgerIsExact},
		{"FundsFollowTheirOwner", fundsFollow},
		{"PursesAreInOrder", pursesInOrder},
		{"ManyAreReadAsEach", readTogether},
		{"PendingIsByDeadline", pendingIsByDeadline},
		{"MeterPeriodsAreUnique", meterPeriods},
		{"MeterSumsBeginAtZero", meterSums},
	}
}

// epoch is when the tests take place.
var epoch = time.Date(2026, 11, 21, 3, 4, 5, 678_000, time.UTC)

// errOwn is an error of a transaction's own.
var errOwn = errors.New("the transaction's own error")

// update runs fn in a transaction that must commit.
func update(t testing.TB, s core.Store, fn func(context.Context, core.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatalf("Update() = %v, want nil", err)
	}
}

// view runs fn on a snapshot; neither may fail.
func view(t testing.TB, s core.Store, fn func(context.Context, core.ReadTx) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("View() = %v, want nil", err)
	}
}

// read returns what fn reads from a snapshot.
func read[T any](t testing.TB, s core.Store, fn func(context.Context, core.ReadTx) (T, error)) T {
	t.Helper()
	v, err := core.InView(t.Context(), s, fn)
	if err != nil {
		t.Fatalf("View() = %v, want nil", err)
	}
	return v
}

// collect returns everything that a scan yields, or its error.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var list []T
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// wantErr fails unless err is of a class.
func wantErr(t testing.TB, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s = %v, want %v", what, err, class)
	}
}
