package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// today is the day of epoch.
var today = usage.DayOf(epoch, time.UTC)

// on returns samples as entries of one day.
func on(day usage.Day, samples ...usage.Sample) []usage.Entry {
	entries := make([]usage.Entry, len(samples))
	for i := range samples {
		entries[i] = usage.Entry{Sample: samples[i], Day: day}
	}
	return entries
}

// of returns s as a sample of another workspace.
func of(ws string, s usage.Sample) usage.Sample {
	s.Workspace = ws
	return s
}

// appendEntries adds entries and checks their verdicts.
func appendEntries(t testing.TB, s core.Store, want []usage.Verdict, entries []usage.Entry) {
	t.Helper()
	got, err := s.AppendUsage(t.Context(), entries)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("AppendUsage() = %v, %v, want %v", got, err, want)
	}
}

// appendUsage adds samples of today and checks their verdicts.
func appendUsage(t testing.TB, s core.Store, want []usage.Verdict, samples ...usage.Sample) {
	t.Helper()
	appendEntries(t, s, want, on(today, samples...))
}

// usageOf returns a record, or an empty one if there is none.
func usageOf(t testing.TB, s core.Store, ws workspace.ID, day usage.Day) usage.Record {
	t.Helper()
	return read(t, s, func(ctx context.Context, tx core.ReadTx) (usage.Record, error) {
		rec, err := tx.UsageOf(ctx, ws, day)
		if errors.Is(err, core.ErrNotFound) {
			return usage.Record{}, nil
		}
		return rec, err
	})
}

// usageOn returns the records on a page of a day.
func usageOn(t testing.TB, s core.Store, day usage.Day, p core.Page) []usage.Record {
	t.Helper()
	return read(t, s, func(ctx context.Context, tx core.ReadTx) ([]usage.Record, error) {
		return collect(tx.UsageOn(ctx, day, p))
	})
}

// seal seals a record in a transaction of its own.
func seal(t testing.TB, s core.Store, ws workspace.ID, day usage.Day, rev uint64) error {
	return s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		return sealIn(ctx, tx, ws, day, rev)
	})
}

// sealIn seals one record; it is ErrConflict if the store does not.
func sealIn(ctx context.Context, tx core.Tx, ws workspace.ID, day usage.Day, rev uint64) error {
	done, err := tx.SealUsage(ctx, usage.Seal{Workspace: string(ws), Day: day, Rev: rev})
	if err == nil && !done[0] {
		err = core.ErrConflict
	}
	return err
}

// texts writes samples in a form that compares.
func texts(samples []usage.Sample) []string {
	var list []string
	for _, s := range samples {
		list = append(list, s.Workspace+" "+s.Item+" "+s.Variant+" "+s.Hour.Format(time.RFC3339)+" "+s.Quantity.String())
	}
	return list
}

// wantSamples checks what a record holds.
func wantSamples(t testing.TB, rec usage.Record, want ...usage.Sample) {
	t.Helper()
	if diff := cmp.Diff(texts(want), texts(rec.Samples)); diff != "" {
		t.Errorf("samples of %q on %s (-want +got):\n%s", rec.Workspace, rec.Day, diff)
	}
}

func appendUsageTwice(t *testing.T, s core.Store) {
	flat := sample("logs", 2, "6")
	flat.Variant = ""
	samples := []usage.Sample{
		sample("traces", 5, "1.5"), sample("logs", 23, "2"), of("ws_10", sample("logs", 2, "5")), flat,
		sample("logs", 2, "4"),
	}
	fresh, repeat := make([]usage.Verdict, len(samples)), make([]usage.Verdict, len(samples))
	for i := range repeat {
		repeat[i] = usage.Duplicate
	}
	appendUsage(t, s, fresh, samples...)
	appendUsage(t, s, repeat, samples...)
	appendUsage(t, s, []usage.Verdict{usage.Duplicate}, sample("logs", 2, "4.00")) // the same amount
	appendUsage(t, s, nil)
	got := usageOf(t, s, "ws_1", today)
	wantSamples(t, got, flat, samples[4], samples[1], samples[0])
	if !slices.IsSortedFunc(got.Samples, usage.Compare) {
		t.Errorf("samples are not in the order of usage.Compare: %v", got.Samples)
	}
	wantSamples(t, usageOf(t, s, "ws_10", today), samples[2])
}

func usageKeepsLast(t *testing.T, s core.Store) {
	appendUsage(t, s,
		[]usage.Verdict{usage.Accepted, usage.Accepted, usage.Duplicate, usage.Replaced, usage.Duplicate},
		sample("logs", 1, "1"), sample("traces", 1, "9"), sample("logs", 1, "1"),
		sample("logs", 1, "2"), sample("logs", 1, "2"))
	appendUsage(t, s, []usage.Verdict{usage.Replaced}, sample("logs", 1, "3"))
	wantSamples(t, usageOf(t, s, "ws_1", today), sample("logs", 1, "3"), sample("traces", 1, "9"))
}

// usageBelongs: the day of an entry decides where it goes, whatever its hour
// is; sites have other midnights, and what is late is billed on another day.
func usageBelongs(t *testing.T, s core.Store) {
	hours := []int{-24 * 400, -24, -1, 0, 23, 24, 37, 24 * 400}
	var samples []usage.Sample
	for _, hour := range hours {
		samples = append(samples, sample("logs", hour, "1"))
	}
	other := sample("logs", 0, "2")
	days := []usage.Day{today, today + 1, 0, -1, -1000, math.MinInt32, math.MaxInt32}
	for _, day := range days {
		appendEntries(t, s, make([]usage.Verdict, len(hours)), on(day, samples...))
	}
	appendEntries(t, s, []usage.Verdict{usage.Replaced}, on(today+1, other))
	for _, day := range days {
		rec := usageOf(t, s, "ws_1", day)
		if rec.Workspace != "ws_1" || rec.Day != day {
			t.Errorf("UsageOf(ws_1, %d) is of %q on %d", day, rec.Workspace, rec.Day)
		}
		want := slices.Clone(samples)
		if day == today+1 {
			want[3] = other
		}
		wantSamples(t, rec, want...)
	}
	for _, day := range []usage.Day{today - 1, today + 2, math.MinInt32 + 1} {
		wantSamples(t, usageOf(t, s, "ws_1", day))
	}
}

// usageRevisions: every append that changes a record counts once, others not.
func usageRevisions(t *testing.T, s core.Store) {
	ok, again := usage.Accepted, usage.Duplicate
	for _, c := range []struct {
		verdicts []usage.Verdict
		entries  []usage.Entry
		rev      uint64
	}{
		{[]usage.Verdict{ok, ok, ok}, on(today, sample("logs", 1, "1"), sample("logs", 2, "1"), sample("x", 2, "1")), 1},
		{[]usage.Verdict{again}, on(today, sample("logs", 1, "1.0")), 1},
		{[]usage.Verdict{usage.Replaced, again}, on(today, sample("logs", 1, "2"), sample("logs", 2, "1")), 2},
		{[]usage.Verdict{ok}, on(today+1, sample("logs", 1, "2")), 2},
		{[]usage.Verdict{ok}, on(today, of("ws_2", sample("logs", 1, "2"))), 2},
	} {
		appendEntries(t, s, c.verdicts, c.entries)
		if rec := usageOf(t, s, "ws_1", today); rec.Rev != c.rev || rec.Sealed {
			t.Errorf("after %v: revision %d, sealed %t, want %d, open", c.verdicts, rec.Rev, rec.Sealed, c.rev)
		}
	}
}

// sealedStays: a sealed record keeps its samples and its revision.
func sealedStays(t *testing.T, s core.Store) {
	appendUsage(t, s, make([]usage.Verdict, 2), sample("logs", 1, "1"), of("ws_2", sample("logs", 1, "1")))
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		err := sealIn(ctx, tx, "ws_1", today, 1)
		rec, errRead := tx.UsageOf(ctx, "ws_1", today)
		if !rec.Sealed || rec.Rev != 1 {
			t.Errorf("in the transaction that sealed it: sealed %t at %d, want sealed at 1", rec.Sealed, rec.Rev)
		}
		all, errScan := collect(tx.UsageOn(ctx, today, core.Page{}))
		if len(all) != 2 || !all[0].Sealed || all[1].Sealed {
			t.Errorf("UsageOn in the transaction yields %v, want the first of two sealed", all)
		}
		return errors.Join(err, errRead, errScan)
	})
	appendUsage(t, s,
		[]usage.Verdict{usage.Duplicate, usage.Late, usage.Late, usage.Late, usage.Accepted},
		sample("logs", 1, "1.00"), sample("logs", 1, "2"), sample("logs", 2, "1"), sample("new", 1, "1"),
		of("ws_2", sample("logs", 2, "1")))
	rec := usageOf(t, s, "ws_1", today)
	wantSamples(t, rec, sample("logs", 1, "1"))
	if !rec.Sealed || rec.Rev != 1 {
		t.Errorf("sealed %t at %d, want sealed at 1", rec.Sealed, rec.Rev)
	}
	if rec := usageOf(t, s, "ws_2", today); rec.Sealed || rec.Rev != 2 {
		t.Errorf("its neighbour: sealed %t at %d, want open at 2", rec.Sealed, rec.Rev)
	}
	appendEntries(t, s, []usage.Verdict{usage.Accepted}, on(today+1, sample("logs", 1, "2"))) // where late ones go
}

func sealIsOfARevision(t *testing.T, s core.Store) {
	appendUsage(t, s, []usage.Verdict{usage.Accepted}, sample("logs", 1, "1"))
	appendUsage(t, s, []usage.Verdict{usage.Replaced}, sample("logs", 1, "2"))
	wantErr(t, "SealUsage at an older revision", seal(t, s, "ws_1", today, 1), core.ErrConflict)
	wantErr(t, "SealUsage at revision 0", seal(t, s, "ws_1", today, 0), core.ErrConflict)
	wantErr(t, "SealUsage of a day without usage", seal(t, s, "ws_1", today+1, 1), core.ErrConflict)
	wantErr(t, "SealUsage of a workspace without usage", seal(t, s, "ws_2", today, 1), core.ErrConflict)
	failed := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		return errors.Join(sealIn(ctx, tx, "ws_1", today, 2), errOwn)
	})
	wantErr(t, "Update(failing)", failed, errOwn)
	if usageOf(t, s, "ws_1", today).Sealed {
		t.Error("a transaction that failed left its seal")
	}
	if err := seal(t, s, "ws_1", today, 2); err != nil {
		t.Errorf("SealUsage() = %v, want nil", err)
	}
	wantErr(t, "SealUsage of a sealed record", seal(t, s, "ws_1", today, 2), core.ErrConflict)
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		return sealIn(ctx, tx, "", today, 1)
	})
	wantErr(t, "SealUsage of no workspace", err, core.ErrInvalid)
}

// sealCutsOff: whatever is reported while a record is sealed is either in what
// was billed or late; nothing is in neither.
func sealCutsOff(t *testing.T, s core.Store) {
	var accepted, late atomic.Int64
	var billed usage.Record
	appendUsage(t, s, []usage.Verdict{usage.Accepted}, sample("first", 0, "1"))
	each(writers, func(i int) {
		if i == writers/2 {
			rec, err := core.InTx(t.Context(), s, func(ctx context.Context, tx core.Tx) (usage.Record, error) {
				rec, err := tx.UsageOf(ctx, "ws_1", today)
				return rec, firstOf(err, sealIn(ctx, tx, "ws_1", today, rec.Rev))
			})
			if err != nil {
				t.Errorf("seal what was read in the same transaction = %v", err)
			}
			billed = rec
			return
		}
		for hour := range 4 {
			verdicts, err := s.AppendUsage(t.Context(), on(today, sample(fmt.Sprintf("item-%d", i), hour, "1")))
			switch {
			case err != nil:
				t.Errorf("AppendUsage() = %v", err)
			case verdicts[0] == usage.Accepted:
				accepted.Add(1)
			case verdicts[0] == usage.Late:
				late.Add(1)
			}
		}
	})
	stored := usageOf(t, s, "ws_1", today)
	if accepted.Load()+late.Load() != 4*(writers-1) || int64(len(stored.Samples)) != 1+accepted.Load() {
		t.Errorf("%d accepted, %d late, %d stored, want all accounted for", accepted.Load(), late.Load(), len(stored.Samples))
	}
	wantSamples(t, stored, billed.Samples...)
}

func usageScan(t *testing.T, s core.Store) {
	ids := []string{"ws_2", "ws_10", "ws_1", "A", "é", "ws_1\x01"}
	for _, id := range ids {
		appendUsage(t, s, []usage.Verdict{usage.Accepted}, of(id, sample("logs", 1, "1")))
	}
	appendEntries(t, s, []usage.Verdict{usage.Accepted}, on(today+1, of("B", sample("logs", 1, "1"))))
	if err := seal(t, s, "ws_10", today, 1); err != nil {
		t.Fatalf("SealUsage() = %v", err)
	}
	slices.Sort(ids)
	for _, c := range []struct {
		p    core.Page
		want []string
	}{
		{core.Page{}, ids}, {core.Page{Limit: 2}, ids[:2]}, {core.Page{After: "ws_1", Limit: 2}, ids[2:4]},
		{core.Page{After: "ws_0"}, ids[1:]}, {core.Page{After: "é"}, nil},
	} {
		var got []string
		for _, rec := range usageOn(t, s, today, c.p) {
			got = append(got, rec.Workspace)
			if rec.Sealed != (rec.Workspace == "ws_10") || rec.Day != today || rec.Rev != 1 {
				t.Errorf("UsageOn(%+v) yields %+v", c.p, rec)
			}
			wantSamples(t, rec, of(rec.Workspace, sample("logs", 1, "1")))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("UsageOn(%+v) yields %q, want %q", c.p, got, c.want)
		}
	}
	first, kept := usageOn(t, s, today, core.Page{}), usageOn(t, s, today, core.Page{})
	for i := range first {
		first[i].Samples[0].Item = "spoiled"
		_ = append(first[i].Samples, usage.Sample{Item: "spoiled"})
	}
	if diff := cmp.Diff(kept, usageOn(t, s, today, core.Page{})); diff != "" {
		t.Errorf("after changing what was yielded (-want +got):\n%s", diff)
	}
}

func usageDays(t *testing.T, s core.Store) {
	for _, day := range []usage.Day{today, today + 40, today - 1, today + 1, -3} {
		appendEntries(t, s, make([]usage.Verdict, 2),
			on(day, sample("logs", 1, "1"), of("ws_2", sample("logs", 1, "1"))))
	}
	days := func(from, to usage.Day) []usage.Day {
		t.Helper()
		return read(t, s, func(ctx context.Context, tx core.ReadTx) ([]usage.Day, error) {
			return collect(tx.UsageDays(ctx, from, to))
		})
	}
	want := func(from, to usage.Day, want ...usage.Day) {
		t.Helper()
		if got := days(from, to); !slices.Equal(got, want) {
			t.Errorf("UsageDays(%d, %d) = %d, want %d", from, to, got, want)
		}
	}
	want(math.MinInt32, math.MaxInt32, -3, today-1, today, today+1, today+40)
	want(today-1, today+1, today-1, today)
	want(today, today)
	want(today+1, today)
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		err := firstOf(sealIn(ctx, tx, "ws_1", today, 1), sealIn(ctx, tx, "ws_2", today, 1),
			sealIn(ctx, tx, "ws_1", today+1, 1))
		got, errDays := collect(tx.UsageDays(ctx, today, today+2))
		if !slices.Equal(got, []usage.Day{today + 1}) {
			t.Errorf("UsageDays in the transaction that sealed = %d, want only %d", got, today+1)
		}
		return firstOf(err, errDays)
	})
	want(-3, today+41, -3, today-1, today+1, today+40)
}

func badUsage(t *testing.T, s core.Store) {
	part, noItem := sample("logs", 1, "1"), sample("", 1, "1")
	nul := sample("logs", 1, "1")
	part.Hour = part.Hour.Add(time.Minute)
	nul.Variant = "a\x00b"
	for what, bad := range map[string]usage.Sample{
		"part of an hour": part, "no item": noItem, "no workspace": of("", sample("logs", 1, "1")), "a NUL": nul,
	} {
		_, err := s.AppendUsage(t.Context(), on(today, sample("logs", 3, "1"), bad))
		wantErr(t, "AppendUsage with "+what, err, core.ErrInvalid)
	}
	if got := usageOn(t, s, today, core.Page{}); got != nil {
		t.Errorf("UsageOn() yields %v, want nothing", got)
	}
	if got := usageOf(t, s, "ws_1", today); got.Samples != nil {
		t.Errorf("UsageOf() = %v, want nothing", got)
	}
}
