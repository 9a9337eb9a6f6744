package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/rating"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// How days are settled.
const (
	// settleGrace is how long after a site's midnight usage of the day may still
	// come before it is billed.
	settleGrace = 30 * time.Minute
	// settleChunk is how many workspaces are rated on one snapshot and share a
	// transaction, which takes some tens of milliseconds.
	settleChunk = 1024
	// settleStep is how many do while callbacks come in: each waits for one
	// transaction, so that is about as short as a commit to disk, and for a
	// processor, so that is handed over more often.
	settleStep = 16
	// settleAhead is how many chunks are rated before they can be committed.
	settleAhead = 2
)

// SettleOptions are how a run differs from the daily one.
type SettleOptions struct {
	// Early settles days that are not over, for development.
	Early bool
}

// settled is what one workspace's day comes to before anything is deducted.
type settled struct {
	bill settlement.DailyBill
	end  time.Time // of the day
}

// DayOutcome is what a settlement of a day came to.
type DayOutcome struct {
	Bills   int    // that it made
	Waiting int    // workspaces whose usage waits
	Waits   []Wait // the first maxWaits of them
}

// Wait says why usage of a workspace is not billed.
type Wait struct {
	Workspace workspace.ID `json:"workspace"`
	Reason    WaitReason   `json:"reason"`
}

// WaitReason is why usage waits.
type WaitReason string

// The reasons. What waits is billed by the first settlement that finds the
// reason gone.
const (
	WaitUnbound    WaitReason = "unbound"       // nobody pays for the workspace
	WaitNoPrices   WaitReason = "no_price_book" // none for the zone and the payer's currency
	WaitNoSite     WaitReason = "unknown_site"  // the workspace's site is not configured
	WaitEarlierDay WaitReason = "earlier_day"   // one that corrects the same day has to be billed first
	WaitOutOfRange WaitReason = "out_of_range"  // its sums do not fit
)

// maxWaits is how many reasons a settlement reports: the first tell what to do
// about the rest.
const maxWaits = 100

func (o *DayOutcome) wait(w ...Wait) {
	o.Waiting += len(w)
	o.Waits = append(o.Waits, w[:min(len(w), maxWaits-len(o.Waits))]...)
}

// SettleDay bills all usage of one day whose site's day is over. It may run
// any number of times, and several at once: a workspace's day is billed once.
// Beside an error it returns what was made before it.
func (s *Service) SettleDay(ctx context.Context, day usage.Day, o SettleOptions) (DayOutcome, error) {
	var out DayOutcome
	ctx = InBackground(ctx)
	err := s.rated(ctx, dayRange{day: day}, o, func(c chunk) error {
		made, waits, err := s.commitBills(ctx, c.batch, nil)
		out.Bills += made
		out.wait(c.waits...)
		out.wait(waits...)
		return err
	})
	if err != nil {
		return out, fmt.Errorf("settle %s: %w", day, err)
	}
	return out, nil
}

// dayRange is a part of a day: the workspaces after one, up to and with
// another, or to the end if that is "".
type dayRange struct {
	day         usage.Day
	after, upto string
}

func (r *dayRange) beyond(ws string) bool { return r.upto != "" && ws > r.upto }

// rated rates a range and hands it to do chunk by chunk; the next ones are rated
// meanwhile.
func (s *Service) rated(ctx context.Context, r dayRange, o SettleOptions, do func(chunk) error) error {
	ctx, stop := context.WithCancel(ctx)
	chunks := make(chan chunk, settleAhead)
	var wg sync.WaitGroup
	wg.Go(func() { s.rateRange(ctx, r, o, chunks) })
	defer wg.Wait()
	defer stop()
	for c := range chunks {
		if err := c.err; err != nil {
			return err
		}
		if err := do(c); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// chunk is a part of a day that was rated and can be committed.
type chunk struct {
	batch []settled
	waits []Wait
	last  string // the workspace that it ends with
	err   error
}

// rateRange rates a range chunk by chunk, ahead of whoever commits them. It
// closes chunks at the end, or after one with an error.
func (s *Service) rateRange(ctx context.Context, r dayRange, o SettleOptions, chunks chan<- chunk) {
	defer close(chunks)
	prices, err := InView(ctx, s.Store, s.tariffs)
	for more := true; more; {
		var c chunk
		if c.err = err; err == nil {
			c, more = s.prepare(ctx, r, o, prices)
			r.after = c.last
		}
		select {
		case chunks <- c:
		case <-ctx.Done():
			return
		}
		if c.err != nil {
			return
		}
	}
}

// prepare rates the next chunk of a range on a snapshot. It reports whether
// there may be more.
func (s *Service) prepare(ctx context.Context, r dayRange, o SettleOptions, t *tariffs) (c chunk, more bool) {
	size := settleChunk
	if s.traffic.flows() {
		size = settleStep
	}
	c.err = s.Store.View(ctx, func(ctx context.Context, tx ReadTx) error {
		p := preparation{Service: s, tx: tx, tariffs: t, day: r.day, early: o.Early}
		n := 0
		for u, err := range tx.UnbilledOn(ctx, r.day, Page{After: r.after, Limit: size}) {
			if err != nil {
				return err
			}
			if r.beyond(u.Usage.Workspace) {
				return nil
			}
			n++
			c.last = u.Usage.Workspace
			b, state, err := p.rate(ctx, u)
			switch {
			case err != nil:
				return fmt.Errorf("workspace %s: %w", u.Usage.Workspace, err)
			case state.waits != "":
				c.waits = append(c.waits, Wait{u.Workspace.ID, state.waits})
			case state.done:
				c.batch = append(c.batch, b)
			}
		}
		more = n == size
		return nil
	})
	return c, more
}

// preparation rates records on one snapshot.
type preparation struct {
	*Service
	tx      ReadTx
	tariffs *tariffs
	day     usage.Day
	early   bool
	// until, if not zero, is the instant up to which a day that is cut short is
	// billed; the binding that held just before it pays.
	until  time.Time
	result rating.Result
	// from and to are the day's bounds in the zone that was asked for last.
	zone     *time.Location
	from, to time.Time
}

// rateState is what became of a record: it was rated, it waits, or, if neither,
// its day is not over.
type rateState struct {
	done  bool
	waits WaitReason
}

func rateWaits(r WaitReason) rateState { return rateState{waits: r} }

func (p *preparation) rate(ctx context.Context, u Unbilled) (settled, rateState, error) {
	w := &u.Workspace
	site, ok := p.sites[w.Site]
	if !ok {
		return settled{}, rateWaits(WaitNoSite), nil
	}
	_, end := p.bounds(site)
	if !p.early && p.Now().Before(end.Add(settleGrace)) {
		return settled{}, rateState{}, nil
	}
	if !p.until.IsZero() && p.until.Before(end) {
		end = p.until
	}
	binding, currency, err := p.payer(ctx, u, end)
	if err != nil || binding.ID == "" {
		return settled{}, rateWaits(WaitUnbound), err
	}
	var out settlement.DailyBill
	waits, err := p.lines(ctx, &out, u.Usage, site, currency, "")
	if errors.Is(err, money.ErrOverflow) { // no reason for the others to wait
		p.tooLarge(w.ID, p.day, err)
		waits, err = WaitOutOfRange, nil
	}
	if err != nil || waits != "" {
		return settled{}, rateWaits(waits), err
	}
	out.ID, out.Workspace, out.Site, out.Day = settlement.DailyBillID(w.ID, p.day), w.ID, w.Site, p.day
	out.BillingAccount, out.Binding, out.Settlement = binding.BillingAccount, binding.ID, binding.Settlement
	out.UsageRev = u.Usage.Rev
	return settled{bill: out, end: end}, rateState{done: true}, nil
}

// bounds returns the instants of the day at a site.
func (p *preparation) bounds(site workspace.Site) (from, to time.Time) {
	if p.zone != site.Zone {
		p.zone = site.Zone
		p.from, p.to = p.day.Bounds(site.Zone)
	}
	return p.from, p.to
}

// payer returns the binding that held just before end, without an ID if there
// is none, and the currency it is paid in: the listing's, or the billing
// account's.
func (p *preparation) payer(ctx context.Context, u Unbilled, end time.Time) (workspace.Binding, money.Currency, error) {
	if u.Binding.ID != "" && u.Binding.From.Before(end) {
		if u.Binding.Settlement.Method == workspace.ByCloudAccount {
			return u.Binding, money.Currency(p.markets[u.Listing].Listing.Currency), nil
		}
		return u.Binding, u.Currency, nil
	}
	b, err := bindingAt(ctx, p.tx, u.Workspace.ID, end)
	if err != nil || b.ID == "" {
		return b, "", err
	}
	c, err := p.currency(ctx, b)
	return b, c, err
}

// bindingAt returns the binding that held just before at. What was used before
// a workspace was bound for the first time is for whoever bound it to their own
// wallet; a marketplace is not charged for what was before the purchase. The
// binding has no ID if nobody pays.
func bindingAt(ctx context.Context, tx ReadTx, id workspace.ID, at time.Time) (workspace.Binding, error) {
	var first, held workspace.Binding
	for b, err := range tx.BindingHistory(ctx, id) {
		if err != nil {
			return held, err
		}
		if first.ID == "" {
			first = b
		}
		if b.From.Before(at) && (b.To.IsZero() || !b.To.Before(at)) {
			held = b
		}
	}
	if held.ID == "" && first.Settlement.Method == workspace.ByBillingAccount {
		return first, nil
	}
	return held, nil
}

// currency is the currency that a binding is paid in: the listing's, or the
// billing account's.
func (p *preparation) currency(ctx context.Context, b workspace.Binding) (money.Currency, error) {
	if b.Settlement.Method == workspace.ByCloudAccount {
		sub, err := p.tx.Subscription(ctx, b.Settlement.Subscription)
		if err != nil {
			return "", err
		}
		return money.Currency(p.markets[sub.Listing].Listing.Currency), nil
	}
	a, err := p.tx.BillingAccount(ctx, b.BillingAccount)
	return money.Currency(a.Currency), err
}

// lines makes b of the record's own samples and what came late for earlier days,
// by a certain version of the price book or, if book is "", the one that holds.
// It returns why that must wait, if it must. The memory of b's lines is used
// again.
func (p *preparation) lines(ctx context.Context, b *settlement.DailyBill, rec usage.Record, site workspace.Site, c money.Currency, book pricing.BookID) (WaitReason, error) {
	own, late := p.split(rec.Samples, site)
	r, ok, err := p.tariffs.version(site.Prices, c, p.day, book)
	if err != nil || !ok {
		return WaitNoPrices, err
	}
	*b = settlement.DailyBill{Workspace: workspace.ID(rec.Workspace), Currency: c, Book: r.Book().ID, Lines: b.Lines[:0]}
	if err := p.add(b, r, own, 0); err != nil {
		return "", err
	}
	for _, day := range late {
		if waits, err := p.correct(ctx, b, rec, site, day); err != nil || waits != "" {
			return waits, err
		}
	}
	for i := range b.Lines {
		if b.Total, err = b.Total.Add(b.Lines[i].Amount); err != nil {
			return "", err
		}
	}
	return "", nil
}

// add rates samples and appends their lines.
func (p *preparation) add(b *settlement.DailyBill, r *rating.Rater, samples []usage.Sample, of usage.Day) error {
	if err := r.Rate(&p.result, samples); err != nil {
		return err
	}
	b.Lines = slices.Grow(b.Lines, len(p.result.Lines))
	for i := range p.result.Lines {
		l := &p.result.Lines[i]
		b.Lines = append(b.Lines, settlement.Line{
			Item: l.Item, Variant: l.Variant, Quantity: l.Quantity, Unit: l.Unit, Price: l.Price,
			Amount: l.Amount, NoVouchers: l.ExcludeVouchers, Of: of,
		})
	}
	for _, f := range p.result.Faults {
		x := samples[f.Sample]
		b.Unrated = append(b.Unrated, settlement.Unrated{Item: x.Item, Variant: x.Variant, Reason: string(f.Reason)})
	}
	return nil
}

// split parts samples into those of the day itself and the earlier days that
// others came late for. Most records have none of those.
func (p *preparation) split(samples []usage.Sample, site workspace.Site) (own []usage.Sample, late []usage.Day) {
	from, to := p.bounds(site)
	in := func(x *usage.Sample) bool { return !x.Hour.Before(from) && x.Hour.Before(to) }
	n := 0
	for n < len(samples) && in(&samples[n]) {
		n++
	}
	if n == len(samples) {
		return samples, nil
	}
	own = slices.Clone(samples[:n])
	for i := range samples[n:] {
		if x := &samples[n+i]; in(x) {
			own = append(own, *x)
		} else if d := usage.DayOf(x.Hour, site.Zone); !slices.Contains(late, d) {
			late = append(late, d)
		}
	}
	return own, late
}
