package core

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// Violation is a promise that the store breaks, and the object it is broken for.
type Violation struct {
	Invariant string `json:"invariant"` // "I4"
	Object    string `json:"object"`
	Detail    string `json:"detail"`
}

// Verification is what a look at the whole store found.
type Verification struct {
	OK         bool           `json:"ok"`
	Checked    map[string]int `json:"checked"` // objects by kind
	Violations []Violation    `json:"violations"`
}

// maxViolations bounds what is reported: after so many, more tell nothing.
const maxViolations = 100

// verifyChunk is how many objects are read on one snapshot, so that no snapshot
// is held for long.
const verifyChunk = 1000

// Verify checks the invariants over the whole store, deriving every bill again
// from its facts. It only reads, and may run beside anything else: objects that
// change meanwhile are seen before or after their change.
func (s *Service) Verify(ctx context.Context) (Verification, error) {
	checks := []func(*verifier, context.Context) error{
		(*verifier).callbacks, (*verifier).subscriptions, (*verifier).workspaces, (*verifier).ledgers, (*verifier).dailyBills,
		(*verifier).monthlyBills, (*verifier).notes, (*verifier).meters,
	}
	parts, errs := make([]verifier, len(checks)), make([]error, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		parts[i] = verifier{Service: s, out: Verification{Checked: map[string]int{}}}
		wg.Go(func() { errs[i] = check(&parts[i], ctx) })
	}
	wg.Wait()
	out := Verification{Checked: map[string]int{}, Violations: []Violation{}}
	unbooked := 0
	for i := range parts {
		maps.Copy(out.Checked, parts[i].out.Checked)
		out.Violations = append(out.Violations, parts[i].out.Violations...)
		unbooked += parts[i].unbooked
	}
	err := errors.Join(errs...)
	if err == nil && unbooked != 0 {
		last := verifier{Service: s, out: out}
		err = last.bookings(ctx)
		out = last.out
	}
	out.OK = err == nil && len(out.Violations) == 0
	return out, err
}

// verifier makes one of the checks. They look at different objects and run at
// the same time.
type verifier struct {
	*Service
	out   Verification
	again preparation            // rates the bills of a day again
	rates priceList              // from the store, not what the service has kept
	bill  settlement.DailyBill   // that it made last
	read  []settlement.DailyBill // last; others are read into their memory
	// unbooked counts bills that name a transaction, less the transactions that
	// were found to be the one that their bill names.
	unbooked int
}

func (v *verifier) breaks(invariant, object, format string, args ...any) {
	if len(v.out.Violations) < maxViolations {
		v.out.Violations = append(v.out.Violations, Violation{invariant, object, fmt.Sprintf(format, args...)})
	}
}

// pages reads all objects of a scan, each page on one snapshot.
func pages[T any](ctx context.Context, v *verifier, kind string, scan func(context.Context, ReadTx, Page) (List[T], error), check func(context.Context, ReadTx, []T) error) error {
	p := Page{Limit: verifyChunk}
	for {
		err := v.Store.View(ctx, func(ctx context.Context, tx ReadTx) error {
			page, err := scan(ctx, tx, p)
			if err != nil || len(page.Items) == 0 {
				p.After = ""
				return err
			}
			p.After = page.Next
			v.out.Checked[kind] += len(page.Items)
			if err := check(ctx, tx, page.Items); err != nil {
				return fmt.Errorf("verify %s: %w", kind, err)
			}
			return nil
		})
		if err != nil || p.After == "" {
			return err
		}
	}
}

// each is pages for checks that look at one object at a time.
func each[T any](ctx context.Context, v *verifier, kind string, scan func(context.Context, ReadTx, Page) (List[T], error), check func(context.Context, ReadTx, T) error) error {
	return pages(ctx, v, kind, scan, func(ctx context.Context, tx ReadTx, items []T) error {
		for _, item := range items {
			if err := check(ctx, tx, item); err != nil {
				return err
			}
		}
		return nil
	})
}

// workspaces: bindings follow each other without overlap, and only the last
// one holds (I10).
func (v *verifier) workspaces(ctx context.Context) error {
	return pages(ctx, v, "workspaces", func(ctx context.Context, tx ReadTx, p Page) (List[workspace.Workspace], error) {
		return listed(tx.Workspaces(ctx, more(p)), p, func(w workspace.Workspace) string { return string(w.ID) })
	}, func(ctx context.Context, tx ReadTx, page []workspace.Workspace) error {
		var last workspace.Binding
		for b, err := range tx.BindingHistories(ctx, page[0].ID, page[len(page)-1].ID) {
			if err != nil {
				return err
			}
			v.out.Checked["bindings"]++
			if last.Workspace == b.Workspace && (last.To.IsZero() || b.From.Before(last.To)) {
				v.breaks("I10", string(b.ID), "begins before %s ends", last.ID)
			}
			last = b
		}
		return nil
	})
}

// grantedBy leaves out funds that were granted later: they had no balance.
func grantedBy(funds []settlement.Fund, h ledger.Head) []settlement.Fund {
	var out []settlement.Fund
	for _, f := range funds {
		if h.Of(f.Account()) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// billKey reads the workspace and day out of a daily bill's id.
func billKey(id string) (workspace.ID, usage.Day, error) {
	rest, ok := strings.CutPrefix(id, "db_")
	day, ws, found := strings.Cut(rest, "_")
	if !ok || !found {
		return "", 0, fmt.Errorf("%q is not the id of a daily bill", id)
	}
	d, err := usage.ParseDay(day)
	return workspace.ID(ws), d, err
}

// same compares what is stored as it is stored.
func same(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// meters: what a subscription was charged is reported, in flight, or carried,
// and no unit is counted twice (I7, I8).
func (v *verifier) meters(ctx context.Context) error {
	return each(ctx, v, "meter_accounts", func(ctx context.Context, tx ReadTx, p Page) (List[metering.Account], error) {
		return listed(tx.MeterAccounts(ctx, more(p)), p, func(a metering.Account) string { return string(a.Subscription) })
	}, func(ctx context.Context, tx ReadTx, a metering.Account) error {
		var accepted, inFlight, lost int64
		slots := map[meterSlot]metering.RecordID{}
		for r, err := range tx.MeterRecords(ctx, a.Subscription, Page{}) {
			if err != nil {
				return err
			}
			v.out.Checked["metering_records"]++
			v.meterRecord(&r, &a, slots)
			switch {
			case r.Status == metering.Accepted:
				accepted += r.Units
			case r.Status.Final():
				lost += r.Units
			default:
				inFlight += r.Units
			}
		}
		if accepted != a.Accepted || inFlight != a.InFlight || lost != a.Lost {
			v.breaks("I7", string(a.Subscription), "records have %d accepted, %d in flight, %d lost units; the sums say %d, %d, %d",
				accepted, inFlight, lost, a.Accepted, a.InFlight, a.Lost)
		}
		return v.charged(ctx, tx, a)
	})
}

// meterSlot is what a marketplace knows a subscription's record by.
type meterSlot struct {
	dimension string
	start     int64
}

// meterRecord: a record counts in its account's units, and none takes another's
// place at the marketplace.
func (v *verifier) meterRecord(r *metering.Record, a *metering.Account, slots map[meterSlot]metering.RecordID) {
	if r.Currency != a.Currency || r.UnitAmount != a.UnitAmount {
		v.breaks("I7", string(r.ID), "counts units of %s %s, its subscription units of %s %s",
			r.Currency, r.UnitAmount, a.Currency, a.UnitAmount)
	}
	slot := meterSlot{r.Dimension, r.PeriodStart.UnixMicro()}
	if other, taken := slots[slot]; taken {
		v.breaks("I8", string(r.ID), "is for the same period as %s", other)
	}
	slots[slot] = r.ID
}

// charged compares the sums with the ledger of whoever paid through them.
func (v *verifier) charged(ctx context.Context, tx ReadTx, a metering.Account) error {
	sub, err := tx.Subscription(ctx, a.Subscription)
	if err != nil {
		return err
	}
	acc, err := tx.CloudAccount(ctx, sub.Account)
	if err != nil {
		return err
	}
	h, err := tx.LedgerHead(ctx, account.ID(acc.BillingAccount), a.Currency)
	if err != nil {
		return err
	}
	var booked money.Micros
	if booked, err = h.Of(ledger.Cloud(string(a.Subscription))).Neg(); err != nil {
		return err
	}
	if booked != a.Charged {
		v.breaks("I7", string(a.Subscription), "was charged %s, the ledger has %s", a.Charged, booked)
	}
	return nil
}
