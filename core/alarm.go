package core

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// Alerts say who is told that metering is in trouble, and when silence is.
type Alerts struct {
	// Email are the operators' addresses; without any there are logs and metrics.
	Email []string
	// Silence is how long bound workspaces may report no usage.
	Silence time.Duration
	// Count, if not nil, is told how many troubles of a kind there are anew.
	Count func(l marketplace.ListingID, t metering.Trouble, n int)
}

// DefaultSilence is a day: many report once a day.
const DefaultSilence = 24 * time.Hour

// How trouble is told of.
const (
	// alarmEvery gathers what one outage does to many records into one mail, and
	// is short beside the shortest window, an hour.
	alarmEvery = time.Minute
	// alarmAtMost is how many records one mail is about: one transaction marks
	// them, and callbacks wait for it.
	alarmAtMost = 10_000
	// alarmLines is how many records a mail lists; the command lists all.
	alarmLines = 50
)

// taskAlarm tells people of records that ended, gathered by WatchMeters.
const taskAlarm = "alarm"

// scopeAlarm holds what people were told of: each record and trouble once.
const scopeAlarm = "alarm/"

// alert is one trouble with one record, or with what a subscription owes.
type alert struct {
	Listing      marketplace.ListingID      `json:"listing"`
	Subscription marketplace.SubscriptionID `json:"subscription"`
	Record       metering.RecordID          `json:"record,omitempty"`
	Trouble      metering.Trouble           `json:"trouble"`
	Units        int64                      `json:"units"`
	Amount       money.Micros               `json:"amount,omitempty"`
	Currency     money.Currency             `json:"currency,omitempty"`
	Deadline     time.Time                  `json:"deadline,omitzero"`
	Detail       string                     `json:"detail,omitempty"`
}

func alertOf(r *metering.Record, t metering.Trouble) alert {
	amount, _ := r.Amount() // of a record that was stored, it fits
	return alert{
		Listing: r.Listing, Subscription: r.Subscription, Record: r.ID, Trouble: t, Units: r.Units,
		Amount: amount, Currency: r.Currency, Deadline: r.Deadline, Detail: r.LastError,
	}
}

// promiseAlerts promises in tx that people are told.
func (s *Service) promiseAlerts(ctx context.Context, tx Tx, alerts []alert) error {
	if len(alerts) == 0 {
		return nil
	}
	return s.promise(ctx, tx, taskAlarm, alerts)
}

// watch is what the loop that watches metering knows, and what it shows.
type watch struct {
	mu     sync.Mutex
	told   map[string]bool // by record and trouble: what surely is claimed
	gauges MeterGauges
}

// MeterGauges is how metering is, for a monitoring system.
type MeterGauges struct {
	// Records are those that are not final, by listing and urgency.
	Records map[marketplace.ListingID]map[metering.Alarm]int
	// Oldest is when the oldest of them was sealed.
	Oldest map[marketplace.ListingID]time.Time
	// Health is how many subscriptions of a listing are in each state.
	Health map[marketplace.ListingID]map[metering.Health]int
}

// Gauges returns how metering was when it was last looked at.
func (s *Service) Gauges() MeterGauges {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	return s.watch.gauges
}

// WatchMeters looks at every record that is not final, and tells people, once
// each, of what is urgent, unknown, or ended without being accepted.
func (s *Service) WatchMeters(ctx context.Context) error {
	pending, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]metering.Record, error) {
		return collect(tx.MeterPending(ctx))
	})
	if err != nil {
		return err
	}
	s.gaugeRecords(pending)
	news := s.news(pending)
	due, err := s.taskDue(ctx, taskAlarm)
	if err != nil || !due && len(news) == 0 {
		return err
	}
	return s.solely(ctx, duty{name: "alarms", again: alarmEvery}, func(ctx context.Context) error {
		told, err := InTx(ctx, s.Store, func(ctx context.Context, tx Tx) ([]alert, error) {
			return s.tellOperators(ctx, tx, news)
		})
		if err == nil {
			s.logTroubles(news, told)
		}
		return err
	})
}

// gaugeRecords counts records for Gauges.
func (s *Service) gaugeRecords(pending []metering.Record) {
	now := s.Now()
	g := MeterGauges{
		Records: map[marketplace.ListingID]map[metering.Alarm]int{}, Oldest: map[marketplace.ListingID]time.Time{},
	}
	for id, m := range s.markets {
		if m.Meter != nil {
			g.Records[id] = map[metering.Alarm]int{metering.Calm: 0, metering.Warning: 0, metering.Critical: 0}
		}
	}
	for i := range pending {
		r := &pending[i]
		if g.Records[r.Listing] == nil {
			g.Records[r.Listing] = map[metering.Alarm]int{}
		}
		g.Records[r.Listing][metering.AlarmOf(r, now)]++
		if at, ok := g.Oldest[r.Listing]; !ok || r.SealedAt.Before(at) {
			g.Oldest[r.Listing] = r.SealedAt
		}
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	g.Health = s.watch.gauges.Health
	s.watch.gauges = g
}

// news returns what people may not have been told of yet.
func (s *Service) news(pending []metering.Record) []alert {
	now := s.Now()
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	told := map[string]bool{}
	var out []alert
	for i := range pending {
		r := &pending[i]
		for _, t := range metering.TroublesOf(r, now) {
			a := alertOf(r, t)
			if key := a.key(); s.watch.told[key] {
				told[key] = true
			} else if len(out) < alarmAtMost {
				out = append(out, a)
			}
		}
	}
	s.watch.told = told // what is final is forgotten
	return out
}

func (a *alert) key() string { return string(a.Record) + "/" + string(a.Trouble) }

// tellOperators claims news and promises mails about what is new of it and
// about what ended. The claims and the mails commit together.
func (s *Service) tellOperators(ctx context.Context, tx Tx, news []alert) ([]alert, error) {
	now, lease := s.Now(), s.newLease(taskLease)
	var out []alert
	for _, a := range news {
		_, fresh, err := tx.Claim(ctx, scopeAlarm+string(a.Listing), a.key(), Claim{At: now})
		if err != nil {
			return nil, err
		}
		if fresh {
			out = append(out, a)
		}
	}
	tasks, err := tx.LeaseTasks(ctx, taskAlarm, lease, alarmAtMost)
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		var ended []alert
		if err := json.Unmarshal(t.Payload, &ended); err != nil {
			return nil, err
		}
		out = append(out, ended...)
		if _, err := tx.FinishTask(ctx, t); err != nil {
			return nil, err
		}
	}
	for _, group := range byListing(out) {
		for _, to := range s.Alerts.Email {
			if err := s.promise(ctx, tx, taskMail, s.alarmMail(to, group)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// byListing groups alerts, the listings in order and the most pressing trouble
// first.
func byListing(alerts []alert) [][]alert {
	slices.SortStableFunc(alerts, func(a, b alert) int {
		return cmp.Or(cmp.Compare(a.Listing, b.Listing), cmp.Compare(a.Trouble.Rank(), b.Trouble.Rank()),
			a.Deadline.Compare(b.Deadline), cmp.Compare(a.Record, b.Record))
	})
	var out [][]alert
	for i, a := range alerts {
		if i == 0 || a.Listing != alerts[i-1].Listing {
			out = append(out, nil)
		}
		last := len(out) - 1
		out[last] = append(out[last], a)
	}
	return out
}

// logTroubles logs and counts what people were told of, after it committed:
// one line for each listing and kind, however many records it befell.
func (s *Service) logTroubles(news, told []alert) {
	s.watch.mu.Lock()
	for i := range news {
		s.watch.told[news[i].key()] = true
	}
	s.watch.mu.Unlock()
	for _, group := range byListing(told) {
		for t, n := range countTroubles(group) {
			first := group[slices.IndexFunc(group, func(a alert) bool { return a.Trouble == t })]
			s.Log.Error("usage is not accepted", "listing", first.Listing, "trouble", t, "records", n,
				"first", first.Record, "subscription", first.Subscription, "deadline", first.Deadline, "detail", first.Detail)
			if s.Alerts.Count != nil {
				s.Alerts.Count(first.Listing, t, n)
			}
		}
	}
}

func countTroubles(alerts []alert) map[metering.Trouble]int {
	out := map[metering.Trouble]int{}
	for _, a := range alerts {
		out[a.Trouble]++
	}
	return out
}

// alarmMail tells one operator what befell one listing.
func (s *Service) alarmMail(to string, group []alert) Mail {
	var counts []string
	for _, t := range metering.Troubles() {
		if n := countTroubles(group)[t]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, t))
		}
	}
	listing := group[0].Listing
	var text strings.Builder
	fmt.Fprintf(&text, "Metering of listing %s is in trouble. What is not accepted in time is never billed.\n\n", listing)
	for _, a := range group[:min(len(group), alarmLines)] {
		text.WriteString(a.line())
	}
	if n := len(group) - alarmLines; n > 0 {
		fmt.Fprintf(&text, "… and %d more\n", n)
	}
	fmt.Fprintf(&text, "\nLook at them:       cloudsettle meter status --listing %s\n"+
		"Decide about one:   cloudsettle meter resolve ID accepted|not-accepted --reason WHY\n"+
		"Try again:          cloudsettle meter retry SUBSCRIPTION\n", listing)
	return Mail{
		To: to, Text: text.String(),
		Subject: fmt.Sprintf("[%s] Metering of %s: %s", s.Brand, listing, strings.Join(counts, ", ")),
	}
}

func (a *alert) line() string {
	what := string(a.Record)
	if what == "" {
		what = "what is due"
	}
	line := fmt.Sprintf("%-8s  %s of %s: %d units", a.Trouble, what, a.Subscription, a.Units)
	if a.Currency != "" {
		line += fmt.Sprintf(", %s %s", a.Amount, a.Currency)
	}
	if !a.Deadline.IsZero() {
		line += ", deadline " + a.Deadline.UTC().Format(time.RFC3339)
	}
	if a.Detail != "" {
		line += ": " + a.Detail
	}
	return line + "\n"
}
