package core_test

import (
	"cmp"
	"math/big"
	"slices"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/workspace"
)

// model is what the service ought to hold, in maps, and what each operation
// ought to do to it. It knows identifiers and price books as data, and decides
// everything itself.
type model struct {
	sites    map[string]workspace.Site
	listings map[marketplace.ListingID]modelListing
	books    []pricing.Book // in the order in which they were added
	payers   map[account.ID]*modelPayer
	spaces   map[workspace.ID]*modelSpace
	subs     map[marketplace.SubscriptionID]*modelSub
	bills    map[modelDay]*modelBill
	months   map[modelMonth]*modelMonthly
	finals   []modelFinal // promised, in their order
}

type modelListing struct {
	provider marketplace.Provider
	currency money.Currency
	locks    bool // workspaces of a subscription that ended; else its account pays
}

type modelPayer struct {
	currency money.Currency
	wallets  map[money.Currency]*modelWallet
}

type modelSpace struct {
	site     string
	locked   bool
	bindings []modelBinding // oldest first
	days     map[string]*modelRecord
}

// modelBinding holds until the next one.
type modelBinding struct {
	from   time.Time
	payer  account.ID
	sub    marketplace.SubscriptionID // "": the payer's wallet
	left   marketplace.SubscriptionID // whose end caused it
	chosen bool
}

// modelRecord is what was reported for one day of a workspace.
type modelRecord struct {
	samples modelSamples
	sealed  bool
}

type modelSub struct {
	listing marketplace.ListingID
	subject string
	owner   account.ID
	status  marketplace.Status
	rank    int       // of the newest statement about it
	stopped time.Time // when its end was first heard of
}

type modelDay struct {
	space workspace.ID
	day   string
}

type modelBill struct {
	modelPaid
	binding  modelBinding
	currency money.Currency
	book     pricing.BookID
	rated    modelRated
	total    *big.Rat
	month    string // that covers it; "" while none does
}

type modelMonth struct {
	payer    account.ID
	month    string
	currency money.Currency
}

// modelMonthly adds up daily bills; what each workspace came to is by
// workspace and subscription.
type modelMonthly struct {
	modelPaid
	total  *big.Rat
	days   int
	spaces map[[2]string]*big.Rat
}

type modelFinal struct {
	sub marketplace.SubscriptionID
	at  time.Time
}

const dayFormat, monthLen = time.DateOnly, len("2006-01")

// dayAt is the date at a site.
func (m *model) dayAt(site string, t time.Time) string {
	return t.In(m.sites[site].Zone).Format(dayFormat)
}

// dayAfter is a date some days later.
func dayAfter(day string, n int) string {
	t, err := time.Parse(dayFormat, day)
	if err != nil {
		panic(err)
	}
	return t.AddDate(0, 0, n).Format(dayFormat)
}

// endOf is the first instant after a day at a site.
func (m *model) endOf(site, day string) time.Time {
	t, err := time.ParseInLocation(dayFormat, dayAfter(day, 1), m.sites[site].Zone)
	if err != nil {
		panic(err)
	}
	return t
}

// book is the one that holds for a day: the latest to take effect, and of
// those the newest.
func (m *model) book(zone string, c money.Currency, day string) *pricing.Book {
	var best *pricing.Book
	for i := range m.books {
		b := &m.books[i]
		if b.Zone == zone && b.Currency == c && b.EffectiveFrom.String() <= day &&
			(best == nil || b.EffectiveFrom >= best.EffectiveFrom) {
			best = b
		}
	}
	return best
}

func (m *model) bookByID(id pricing.BookID) *pricing.Book {
	at := slices.IndexFunc(m.books, func(b pricing.Book) bool { return b.ID == id })
	return &m.books[at]
}

// known reports whether any book of a zone measures an item.
func (m *model) known(zone, item string) bool {
	for _, b := range m.books {
		for _, it := range b.Items {
			if b.Zone == zone && (len(it.Measures) == 0 && it.Code == item ||
				slices.ContainsFunc(it.Measures, func(x pricing.Measure) bool { return x.Code == item })) {
				return true
			}
		}
	}
	return false
}

func (m *model) wallet(id account.ID, c money.Currency) *modelWallet {
	w := m.payers[id].wallets[c]
	if w == nil {
		w = newModelWallet(c)
		m.payers[id].wallets[c] = w
	}
	return w
}

// current is the binding that holds now, or nil.
func (s *modelSpace) current() *modelBinding {
	if len(s.bindings) == 0 {
		return nil
	}
	return &s.bindings[len(s.bindings)-1]
}

// boundAt is the binding that held just before an instant, or the first one if
// none did and that is to a wallet, or nil.
func (s *modelSpace) boundAt(at time.Time) (held *modelBinding) {
	for i := range s.bindings {
		if s.bindings[i].from.Before(at) || i == 0 && s.bindings[i].sub == "" {
			held = &s.bindings[i]
		}
	}
	return held
}

func (m *model) currencyOf(b *modelBinding) money.Currency {
	if b.sub != "" {
		return m.listings[m.subs[b.sub].listing].currency
	}
	return m.payers[b.payer].currency
}

// spaceIDs are all workspaces in the order of their ids, which is that of bills.
func (m *model) spaceIDs() []workspace.ID {
	var ids []workspace.ID
	for id := range m.spaces {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// modelReport counts what became of samples.
type modelReport struct{ accepted, duplicate, replaced, late int }

func (r *modelReport) add(more modelReport) {
	r.accepted += more.accepted
	r.duplicate += more.duplicate
	r.replaced += more.replaced
	r.late += more.late
}

// put stores a sample in the record of a day and reports whether it came late
// for it.
func (m *model) put(id workspace.ID, day string, k modelSample, q *big.Rat, out *modelReport) (late bool) {
	s := m.spaces[id]
	r := s.days[day]
	if r == nil {
		r = &modelRecord{samples: modelSamples{}}
		s.days[day] = r
	}
	old := r.samples[k]
	switch {
	case old != nil && old.Cmp(q) == 0:
		out.duplicate++
	case r.sealed:
		return true
	case old != nil:
		out.replaced++
		r.samples[k] = q
	default:
		out.accepted++
		r.samples[k] = q
	}
	return false
}

// modelState is what became of a workspace's day.
type modelState int

const (
	modelSkipped modelState = iota
	modelWaiting
	modelBilled
)

// settle bills a day of all workspaces.
func (m *model) settle(day string, now time.Time) (made []modelDay, waiting int) {
	for _, id := range m.spaceIDs() {
		end := m.endOf(m.spaces[id].site, day)
		if now.Before(end.Add(30 * time.Minute)) {
			continue
		}
		switch m.settleOne(id, day, end, end) {
		case modelWaiting:
			waiting++
		case modelBilled:
			made = append(made, modelDay{id, day})
		}
	}
	return made, waiting
}

// settleOne bills a day of one workspace to whoever it was bound to just
// before end, with what is valid at an instant.
func (m *model) settleOne(id workspace.ID, day string, end, valid time.Time) modelState {
	s := m.spaces[id]
	r := s.days[day]
	if r == nil || r.sealed {
		return modelSkipped
	}
	held := s.boundAt(end)
	if held == nil {
		return modelWaiting
	}
	zone, c := m.sites[s.site].Prices, m.currencyOf(held)
	b := m.book(zone, c, day)
	if b == nil {
		return modelWaiting
	}
	own, late := modelSamples{}, map[string]bool{}
	for k, q := range r.samples {
		if of := m.dayAt(s.site, time.Unix(k.hour, 0)); of == day {
			own[k] = q
		} else {
			late[of] = true
		}
	}
	bill := &modelBill{binding: *held, currency: c, book: b.ID, rated: rateByBook(b, own, ""), total: zero()}
	for of := range late {
		if !m.correct(bill, id, day, of) {
			return modelWaiting
		}
	}
	for _, l := range bill.rated.lines {
		bill.total = plus(bill.total, l.amount)
	}
	bill.modelPaid = m.wallet(held.payer, c).pay(bill.rated.lines, valid, string(held.sub))
	m.bills[modelDay{id, day}] = bill
	r.sealed = true
	return modelBilled
}

// correct adds to a bill what a day comes to now, with all that is known, less
// what it came to with what was billed before. The prices are those of its
// bill; in another currency, those of this one. It is false while a day in
// between that has samples of it is not billed.
func (m *model) correct(bill *modelBill, id workspace.ID, day, of string) bool {
	s := m.spaces[id]
	before, after := modelSamples{}, modelSamples{}
	for d := of; d <= day; d = dayAfter(d, 1) {
		r := s.days[d]
		if r == nil {
			continue
		}
		for k, q := range r.samples {
			if m.dayAt(s.site, time.Unix(k.hour, 0)) != of {
				continue
			}
			if d != day {
				if !r.sealed {
					return false
				}
				before[k] = q
			}
			after[k] = q
		}
	}
	book := m.bookByID(bill.book)
	if first := m.bills[modelDay{id, of}]; first.currency == bill.currency {
		book = m.bookByID(first.book)
	}
	then, now := rateByBook(book, before, of), rateByBook(book, after, of)
	for k, l := range now.lines {
		if was, ok := then.lines[k]; ok {
			l.amount = less(l.amount, was.amount)
		} else { // it was not there yet, or was too large to be billed
			l.amount = less(l.amount, m.billed(id, day, k, bill.currency))
		}
		if l.amount.Sign() != 0 {
			bill.rated.lines[k] = l
		}
	}
	for name := range now.unrated {
		bill.rated.unrated[name] = true
	}
	return true
}

// billed is what bills before a day charged for a line of an earlier day.
func (m *model) billed(id workspace.ID, before string, k modelLineKey, c money.Currency) *big.Rat {
	sum := zero()
	for at, b := range m.bills {
		if at.space != id || at.day >= before || b.currency != c {
			continue
		}
		of := k
		if at.day == k.of {
			of.of = ""
		}
		if l, ok := b.rated.lines[of]; ok {
			sum = plus(sum, l.amount)
		}
	}
	return sum
}

// final bills, when a subscription ended, what its workspaces used until then
// on its last day and the one before. paid is when a bill was made.
func (m *model) final(f modelFinal, paid func(workspace.ID, string) time.Time) (made []modelDay) {
	var ids, left []workspace.ID
	for _, id := range m.spaceIDs() {
		switch c := m.spaces[id].current(); {
		case c == nil:
		case c.sub == f.sub:
			ids = append(ids, id)
		case c.left == f.sub:
			left = append(left, id)
		}
	}
	for back := 1; back >= 0; back-- {
		for _, id := range append(ids, left...) {
			site := m.spaces[id].site
			day := dayAfter(m.dayAt(site, f.at), -back)
			end, valid := m.endOf(site, day), paid(id, day)
			if end.Before(valid) {
				valid = end
			}
			if f.at.Before(end) {
				end = f.at
			}
			if m.settleOne(id, day, end, valid) == modelBilled {
				made = append(made, modelDay{id, day})
			}
		}
	}
	return made
}

// openDays are the days with usage that is not billed, oldest first.
func (m *model) openDays() []string {
	var days []string
	for _, s := range m.spaces {
		for day, r := range s.days {
			if !r.sealed && !slices.Contains(days, day) {
				days = append(days, day)
			}
		}
	}
	slices.Sort(days)
	return days
}

// payable reports whether somebody will pay for usage of a day that is open.
func (m *model) payable(day string) bool {
	for _, s := range m.spaces {
		if r := s.days[day]; r != nil && !r.sealed && s.boundAt(m.endOf(s.site, day)) != nil {
			return true
		}
	}
	return false
}

// closeMonth makes the monthly bills that are missing.
func (m *model) closeMonth(month string) (made int) {
	sums := map[modelMonth]*modelMonthly{}
	for at, b := range m.bills {
		key := modelMonth{b.binding.payer, month, b.currency}
		if at.day[:monthLen] > month || m.months[key] != nil || b.month != "" || b.total.Sign() == 0 {
			continue // covered already, or nothing was paid
		}
		b.month = month
		sum := sums[key]
		if sum == nil {
			sum = &modelMonthly{modelPaid{map[string]*big.Rat{}, zero(), zero()}, zero(), 0, map[[2]string]*big.Rat{}}
			sums[key] = sum
		}
		sum.total, sum.cloud, sum.arrears = plus(sum.total, b.total), plus(sum.cloud, b.cloud), plus(sum.arrears, b.arrears)
		sum.days++
		for name, paid := range b.by {
			sum.by[name] = plus(cmp.Or(sum.by[name], zero()), paid)
		}
		space := [2]string{string(at.space), string(b.binding.sub)}
		sum.spaces[space] = plus(cmp.Or(sum.spaces[space], zero()), b.total)
	}
	for key, sum := range sums {
		m.months[key] = sum
	}
	return len(sums)
}

// bind settles a workspace as somebody chose, or returns the rule against it.
func (m *model) bind(id workspace.ID, payer account.ID, sub marketplace.SubscriptionID, now time.Time) string {
	s := m.spaces[id]
	site, held, target := m.sites[s.site], s.current(), m.subs[sub]
	switch {
	case target != nil && target.owner != payer:
		return "cloud_account_not_claimed"
	case target != nil && target.status != marketplace.StatusActive:
		return "subscription_not_active"
	case held != nil && held.payer != payer:
		return "bound_to_another_account"
	case held != nil && held.sub == sub:
		return "already_bound"
	case held != nil && held.sub != "" && m.subs[held.sub].status != marketplace.StatusEnded:
		return "settled_by_cloud_account"
	case target != nil && site.Cloud != "" && m.listings[target.listing].provider != site.Cloud:
		return "site_settles_elsewhere"
	case held != nil && held.sub == "" && m.changedIn(s, now):
		return "changed_this_month"
	}
	s.bindings = append(s.bindings, modelBinding{from: now, payer: payer, sub: sub, chosen: true})
	s.locked = false
	return "ok"
}

// changedIn reports whether the customer changed the settlement in the month
// of now at the site.
func (m *model) changedIn(s *modelSpace, now time.Time) bool {
	for i := len(s.bindings) - 1; i > 0; i-- {
		if s.bindings[i].chosen {
			return m.dayAt(s.site, s.bindings[i].from)[:monthLen] == m.dayAt(s.site, now)[:monthLen]
		}
	}
	return false
}

// become is a new state of a subscription, with what it does to the
// workspaces that are settled through it.
func (m *model) become(id marketplace.SubscriptionID, status marketplace.Status, now time.Time) {
	sub := m.subs[id]
	if sub.status == status {
		return
	}
	sub.status = status
	over := status == marketplace.StatusEnded || status == marketplace.StatusEnding
	if over && sub.stopped.IsZero() {
		sub.stopped = now
		m.finals = append(m.finals, modelFinal{id, now})
	}
	for _, s := range m.spaces {
		c := s.current()
		if c == nil || c.sub != id {
			continue
		}
		switch {
		case status == marketplace.StatusFrozen:
			s.locked = true
		case status != marketplace.StatusEnded:
			s.locked = false
		case m.listings[sub.listing].locks:
			s.locked = true
		default:
			s.bindings = append(s.bindings, modelBinding{from: now, payer: c.payer, left: id})
			s.locked = false
		}
	}
}
