package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// Durable is a store that outlives its process.
type Durable struct {
	// Open opens the store kept at place and makes it if it is missing.
	Open func(place string) (core.Store, error)
	// Place makes room for a new store that nobody else uses.
	Place func(t *testing.T) string
	// Renew makes the closed store at place look as if a newer version of the
	// program had written it.
	Renew func(place string) error
}

// RunDurable checks what a store promises beyond its process. The test that
// calls it must do nothing before that: it is run again as a process to kill.
func RunDurable(t *testing.T, d Durable) {
	t.Run("ReopenSeesAll", d.reopenSeesAll)
	t.Run("NewerSchemaRefused", d.newerSchema)
	t.Run("CrashKeepsAcknowledged", d.crash)
}

func (d Durable) open(t *testing.T, place string) core.Store {
	t.Helper()
	s, err := d.Open(place)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (d Durable) reopenSeesAll(t *testing.T) {
	place := d.Place(t)
	s := d.open(t, place)
	update(t, s, writeEverything)
	appendUsage(t, s, nil)
	if err := s.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	s = d.open(t, place)
	if diff := cmp.Diff(wantEverything(), read(t, s, readEverything)); diff != "" {
		t.Errorf("after opening again (-want +got):\n%s", diff)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v", err)
	}
}

func (d Durable) newerSchema(t *testing.T) {
	place := d.Place(t)
	if err := d.open(t, place).Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
	if err := d.Renew(place); err != nil {
		t.Fatalf("Renew() = %v", err)
	}
	_, err := d.Open(place)
	wantErr(t, "Open of a newer version's store", err, core.ErrSchema)
}

// The crash test. A child process applies numbered deliveries from several
// goroutines and writes down each number once Update has returned; the parent
// kills it somewhere in the middle, and looks.
const (
	crashPlace   = "STORETEST_CRASH_PLACE"
	crashFrom    = "STORETEST_CRASH_FROM"
	crashRounds  = 5
	crashWorkers = 16
	crashMost    = 400 // acknowledged deliveries before the kill, at most
	// crashStride keeps the numbers of rounds apart.
	crashStride = 1 << 20
)

func (d Durable) crash(t *testing.T) {
	if place := os.Getenv(crashPlace); place != "" {
		d.deliverUntilKilled(place)
	}
	place := d.Place(t)
	acked := map[string]bool{}
	for round := range crashRounds {
		killAfter := 1 + rand.IntN(crashMost)
		for _, number := range runChild(t, place, round*crashStride, killAfter) {
			acked[number] = true
		}
		s := d.open(t, place)
		d.checkAfterCrash(t, s, acked)
		if err := s.Close(); err != nil {
			t.Fatalf("round %d, killed after %d: Close() = %v", round, killAfter, err)
		}
	}
}

// runChild starts this test again as a child, kills it after it has
// acknowledged n deliveries, and returns all that it had acknowledged by then.
func runChild(t *testing.T, place string, from, n int) []string {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	child := exec.Command(os.Args[0], "-test.run="+strings.Join(pattern, "/"))
	child.Env = append(os.Environ(), crashPlace+"="+place, crashFrom+"="+strconv.Itoa(from))
	child.ExtraFiles = []*os.File{in}
	if err := errors.Join(child.Start(), in.Close()); err != nil {
		t.Fatal(err)
	}
	var acked []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if acked = append(acked, lines.Text()); len(acked) == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
	if len(acked) < n {
		t.Fatalf("the child ended after %d deliveries, want it to go on: %q", len(acked), acked)
	}
	return acked
}

// deliverUntilKilled is the child. It ends the process when it cannot go on.
func (d Durable) deliverUntilKilled(place string) {
	from, _ := strconv.Atoi(os.Getenv(crashFrom))
	s, err := d.Open(place)
	if err != nil {
		os.Exit(1)
	}
	acks := os.NewFile(3, "acks") // the first of ExtraFiles
	var mu sync.Mutex
	each(crashWorkers, func(worker int) {
		for i := worker; ; i += crashWorkers {
			number := strconv.Itoa(from + i)
			if err := s.Update(context.Background(), deliver(number)); err != nil {
				os.Exit(1)
			}
			mu.Lock()
			_, err := fmt.Fprintln(acks, number)
			mu.Unlock()
			if err != nil {
				os.Exit(1)
			}
		}
	})
}

// deliver applies one delivery: a claim, a subscription with its names, a cloud
// account and a journal entry, as a purchase does.
func deliver(number string) func(context.Context, core.Tx) error {
	return func(ctx context.Context, tx core.Tx) error {
		_, fresh, err := tx.Claim(ctx, "deliveries", number, core.Claim{Result: number})
		if err != nil || !fresh {
			return err
		}
		return writePurchase(ctx, tx, number)
	}
}

// writePurchase writes what a first callback about a subscription does.
func writePurchase(ctx context.Context, tx core.Tx, number string) error {
	sub := subscription("sub_" + number)
	sub.Facts = []marketplace.Fact{{Kind: marketplace.Activated, SeenAt: epoch, Callback: "cb_1"}}
	account := fullCloudAccount()
	account.ID, account.ProviderID = marketplace.AccountID("ca_"+number), "number "+number
	account.BillingAccount, account.Subscriptions = "", []marketplace.SubscriptionID{sub.ID}
	entry := fullEntry()
	entry.ID = marketplace.CallbackID("cb_" + number)
	return firstOf(tx.PutSubscription(ctx, sub), tx.PutCloudAccount(ctx, account), tx.PutCallbackEntry(ctx, entry))
}

// checkAfterCrash: every acknowledged delivery is there, and whatever is there
// is there as a whole.
func (d Durable) checkAfterCrash(t *testing.T, s core.Store, acked map[string]bool) {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check() after the crash = %v", err)
	}
	stored := map[string]bool{}
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		for sub, err := range tx.Subscriptions(ctx, "", core.Page{}) {
			if err != nil {
				return err
			}
			number := strings.TrimPrefix(string(sub.ID), "sub_")
			stored[number] = true
			_, errName := tx.SubscriptionByName(ctx, listing, sub.Subject)
			_, errAccount := tx.CloudAccountByProvider(ctx, listing, "number "+number)
			_, errEntry := tx.CallbackEntry(ctx, marketplace.CallbackID("cb_"+number))
			if err := firstOf(errName, errAccount, errEntry); err != nil || sub.Rev != 1 {
				t.Errorf("delivery %s at revision %d, want all of it, once: %v", number, sub.Rev, err)
			}
		}
		if n := count(tx.CallbackEntries(ctx, "", core.Page{})); n != len(stored) {
			t.Errorf("%d journal entries for %d deliveries", n, len(stored))
		}
		return nil
	})
	for number := range acked {
		if !stored[number] {
			t.Errorf("delivery %s was acknowledged and is gone", number)
		}
	}
}
