package bolt

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"
	"pgregory.net/rapid"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/settlement"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/daypack"
)

// The generators fill every field by reflection, so that a field which a codec
// forgets makes the round trip fail.

// filled draws a record of type T with every field drawn.
func filled[T any]() *rapid.Generator[T] {
	return rapid.MakeCustom[T](rapid.MakeConfig{
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[time.Time]():         times().AsAny(),
			reflect.TypeFor[[]byte]():            orNil(rapid.SliceOfN(rapid.Byte(), 1, 20)).AsAny(),
			reflect.TypeFor[[]string]():          orNil(rapid.SliceOfN(rapid.String(), 1, 4)).AsAny(),
			reflect.TypeFor[map[string]string](): orNilMap().AsAny(),
			reflect.TypeFor[[]marketplace.Attributed](): orNil(
				rapid.SliceOfN(rapid.Make[marketplace.Attributed](), 1, 3)).AsAny(),
			reflect.TypeFor[[]marketplace.SubscriptionID](): orNil(
				rapid.SliceOfN(rapid.Make[marketplace.SubscriptionID](), 1, 3)).AsAny(),
			reflect.TypeFor[[]marketplace.Fact](): facts().AsAny(),
			reflect.TypeFor[decimal.Decimal]():    decimals().AsAny(),
			reflect.TypeFor[[]settlement.Line](): orNil(rapid.SliceOfN(
				rapid.MakeCustom[settlement.Line](rapid.MakeConfig{Types: map[reflect.Type]*rapid.Generator[any]{
					reflect.TypeFor[decimal.Decimal](): decimals().AsAny(),
				}}), 1, 3)).AsAny(),
			reflect.TypeFor[[]settlement.Unrated](): orNil(
				rapid.SliceOfN(rapid.Make[settlement.Unrated](), 1, 3)).AsAny(),
			reflect.TypeFor[[]settlement.Deduction](): orNil(
				rapid.SliceOfN(rapid.Make[settlement.Deduction](), 1, 3)).AsAny(),
			reflect.TypeFor[[]ledger.Posting](): orNil(
				rapid.SliceOfN(rapid.Make[ledger.Posting](), 1, 3)).AsAny(),
			reflect.TypeFor[[]ledger.Balance](): orNil(
				rapid.SliceOfN(rapid.Make[ledger.Balance](), 1, 3)).AsAny(),
		},
	})
}

func facts() *rapid.Generator[[]marketplace.Fact] {
	fact := rapid.MakeCustom[marketplace.Fact](rapid.MakeConfig{
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[time.Time](): times().AsAny(),
			reflect.TypeFor[[]marketplace.Attributed](): orNil(
				rapid.SliceOfN(rapid.Make[marketplace.Attributed](), 1, 3)).AsAny(),
		},
	})
	return orNil(rapid.SliceOfN(fact, 1, 3))
}

// times draws no time, or one that a store can hold.
func times() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "none") {
			return time.Time{}
		}
		return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "micros")).UTC()
	})
}

// decimals draws any decimal.
func decimals() *rapid.Generator[decimal.Decimal] {
	return rapid.Custom(func(t *rapid.T) decimal.Decimal {
		coef := rapid.Uint64Range(0, 9_999_999_999_999_999_999).Draw(t, "coefficient")
		scale := rapid.IntRange(0, decimal.MaxScale).Draw(t, "scale")
		d, err := daypack.Decimal(byte(scale), coef)
		if err != nil || d.Coef() != coef || d.Scale() != scale {
			t.Fatalf("Decimal(%d, %d) = %v, %v", scale, coef, d, err)
		}
		if rapid.Bool().Draw(t, "negative") {
			d = d.Neg()
		}
		return d
	})
}

func orNil[T any](g *rapid.Generator[[]T]) *rapid.Generator[[]T] {
	return rapid.OneOf(rapid.Just[[]T](nil), g)
}

func orNilMap() *rapid.Generator[map[string]string] {
	return rapid.OneOf(rapid.Just[map[string]string](nil),
		rapid.MapOfN(rapid.String(), rapid.String(), 1, 4))
}

func TestSubscriptionReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeSubscription, func(s *marketplace.Subscription) []byte {
		value := appendSubscription(nil, *s, s.Rev+1)
		s.Rev++
		return value
	})
}

func TestCloudAccountReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeCloudAccount, func(a *marketplace.Account) []byte {
		value := appendCloudAccount(nil, *a, a.Rev+1)
		a.Rev++
		return value
	})
}

func TestEntryReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeEntry, func(e *core.JournalEntry) []byte {
		value := appendEntry(nil, *e)
		if !entryIsOf(e.Listing, value) || entryIsOf(e.Listing+"x", value) {
			t.Errorf("entryIsOf(%q) does not know its own listing", e.Listing)
		}
		return value
	})
}

func TestClaimReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeClaim, func(c *core.Claim) []byte { return appendClaim(nil, *c) })
}

func TestDailyBillReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeDailyBill, func(b *settlement.DailyBill) []byte {
		b.ID = settlement.DailyBillID(b.Workspace, b.Day)
		return appendDailyBill(nil, b)
	})
}

func TestHeadReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeHead, func(h *ledger.Head) []byte {
		h.Rev = h.Seq
		return appendHead(nil, h)
	})
}

func TestTransactionReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeTransaction, func(tx *ledger.Transaction) []byte { return appendTransaction(nil, tx) })
}

func TestMeterAccountReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeMeterAccount, func(a *metering.Account) []byte {
		a.Rev++
		return appendMeterAccount(nil, a, a.Rev)
	})
}

func TestWorkspaceReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeWorkspace, func(w *workspace.Workspace) []byte {
		w.Rev++
		return appendWorkspace(nil, w, w.Rev)
	})
}

func TestBindingReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeBinding, func(b *workspace.Binding) []byte { return appendBinding(nil, b) })
}

func TestMeterRecordReturns(t *testing.T) {
	t.Parallel()
	roundTrip(t, decodeMeterRecord, func(r *metering.Record) []byte {
		r.Rev++
		return appendMeterRecord(nil, r, r.Rev)
	})
}

// roundTrip checks that decode is the reverse of encode for any record, that a
// value cut short or with an extra byte is damage, and that a later format is
// refused. Only an entry's body, which is the rest, may have any length.
func roundTrip[T any](t *testing.T, decode func([]byte) (T, error), encode func(*T) []byte) {
	t.Helper()
	gen := filled[T]()
	rapid.Check(t, func(rt *rapid.T) {
		want := gen.Draw(rt, "record")
		value := encode(&want)
		got, err := decode(value)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			rt.Fatalf("decode = %v (-want +got):\n%s", err, diff)
		}
		cut := rapid.IntRange(0, len(value)-1).Draw(rt, "cut")
		if short, err := decode(value[:cut]); err == nil && cmp.Equal(short, want) {
			rt.Fatalf("decode of %d of %d bytes = the whole record", cut, len(value))
		}
		value[0] = 99
		if _, err := decode(value); !errors.Is(err, core.ErrSchema) {
			rt.Fatalf("decode of a later format = %v, want ErrSchema", err)
		}
	})
}

// FuzzDecode: no value makes a decoder panic, and what decodes encodes to a
// value that decodes to the same.
func FuzzDecode(f *testing.F) {
	yes := true
	f.Add(appendSubscription(nil, marketplace.Subscription{ID: "sub_1", Facts: []marketplace.Fact{{Trial: &yes}}}, 1))
	f.Add(appendCloudAccount(nil, marketplace.Account{ID: "ca_1"}, 1))
	f.Add(appendEntry(nil, core.JournalEntry{ID: "cb_1", Event: &marketplace.Event{}, Body: []byte("{}")}))
	line := settlement.Line{Item: "logs", Price: decimal.MustParse("-0.5"), Of: -1}
	f.Add(appendDailyBill(nil, &settlement.DailyBill{
		Workspace: "ws_1", Lines: []settlement.Line{line}, Unrated: []settlement.Unrated{{Item: "x"}},
		Split: settlement.Split{Deductions: []settlement.Deduction{{Source: ledger.Cash, Micros: -1}}},
	}))
	f.Add(appendHead(nil, &ledger.Head{Owner: "ba_1", Balances: []ledger.Balance{{Account: ledger.Cash, Micros: -1}}}))
	f.Add(appendTransaction(nil, &ledger.Transaction{Seq: 1, Postings: []ledger.Posting{{Account: ledger.Cash}}}))
	f.Add(appendMeterAccount(nil, &metering.Account{Subscription: "sub_1", Charged: -1}, 1))
	f.Add(appendMeterRecord(nil, &metering.Record{ID: "mr_1", Attributes: map[string]string{"a": "1"}}, 1))
	f.Add([]byte{formatPacked1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02})
	f.Fuzz(func(t *testing.T, value []byte) {
		stable(t, value, decodeSubscription, func(s marketplace.Subscription) []byte {
			return appendSubscription(nil, s, s.Rev)
		})
		stable(t, value, decodeCloudAccount, func(a marketplace.Account) []byte {
			return appendCloudAccount(nil, a, a.Rev)
		})
		stable(t, value, decodeEntry, func(e core.JournalEntry) []byte { return appendEntry(nil, e) })
		stable(t, value, decodeDailyBill, func(b settlement.DailyBill) []byte { return appendDailyBill(nil, &b) })
		stable(t, value, decodeHead, func(h ledger.Head) []byte { return appendHead(nil, &h) })
		stable(t, value, decodeTransaction, func(tx ledger.Transaction) []byte { return appendTransaction(nil, &tx) })
		stable(t, value, decodeWorkspace, func(w workspace.Workspace) []byte { return appendWorkspace(nil, &w, w.Rev) })
		stable(t, value, decodeBinding, func(b workspace.Binding) []byte { return appendBinding(nil, &b) })
		stable(t, value, decodeMeterAccount, func(a metering.Account) []byte { return appendMeterAccount(nil, &a, a.Rev) })
		stable(t, value, decodeMeterRecord, func(r metering.Record) []byte { return appendMeterRecord(nil, &r, r.Rev) })
		stable(t, value, decodeClaim, func(c core.Claim) []byte { return appendClaim(nil, c) })
		_, _ = decodeJSON[core.Task](value)
		_ = entryIsOf("listing", value)
	})
}

func stable[T any](t *testing.T, value []byte, decode func([]byte) (T, error), encode func(T) []byte) {
	t.Helper()
	rec, err := decode(value)
	if err != nil {
		return
	}
	again, err := decode(encode(rec))
	if diff := cmp.Diff(rec, again); err != nil || diff != "" {
		t.Errorf("encoding what was decoded = %v (-first +second):\n%s", err, diff)
	}
}

// TestArenaKeepsValues: bbolt reads values at the commit, so memory may not be
// handed out twice before.
func TestArenaKeepsValues(t *testing.T) {
	t.Parallel()
	var a arena
	var kept [][]byte
	for i := range 500 {
		kept = append(kept, a.keep(append(a.room(), bytes.Repeat([]byte{byte(i)}, i*7%6000)...)))
	}
	for i, value := range kept {
		if !bytes.Equal(value, bytes.Repeat([]byte{byte(i)}, i*7%6000)) {
			t.Fatalf("value %d was written over", i)
		}
	}
}
