package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloudsettle/core/metering"
	"cloudsettle/store/fresh"
)

// send asks the API as the operator, with a body, and returns the answer.
func (j *journey) send(want int, path string, body any) object {
	j.t.Helper()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			j.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(j.t.Context(), http.MethodPost, j.url+"/api/v1/"+path, bytes.NewReader(raw))
	if err != nil {
		j.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bootstrap)
	if raw != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		j.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out object
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != want {
		j.t.Fatalf("POST %s = %s %v, %v, want %d", path, resp.Status, out, err, want)
	}
	return out
}

// misbehaves sets what goes wrong with a marketplace's metering.
func (j *journey) misbehaves(listing, faults string) {
	j.t.Helper()
	resp, err := http.Post(j.pages[listing]+"/_sim/metering/faults", "application/json", strings.NewReader(faults))
	if err != nil {
		j.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		j.t.Fatalf("faults %s = %s", faults, resp.Status)
	}
}

// metered returns what a marketplace will bill one subscription.
func (j *journey) metered(listing, subject, dimension string) int64 {
	j.t.Helper()
	ledger, ok := j.sims[listing].(interface {
		Metered(subject, dimension string) (units int64, records int)
	})
	if !ok {
		j.t.Fatalf("the simulator of %s does not tell what it bills", listing)
	}
	units, _ := ledger.Metered(subject, dimension)
	return units
}

// customer is who bought on one marketplace, with a workspace that it settles.
type customer struct{ subscription, subject, workspace string }

// becomes buys and binds a workspace at a site.
func (j *journey) becomes(listing, event, site string, params map[string]string) (c customer) {
	j.t.Helper()
	if a := j.trigger(listing, event, params); !a.Accepted {
		j.t.Fatalf("%s %s: %d %s %s", listing, event, a.Status, a.Body, a.Error)
	}
	j.quiet(listing)
	var sub object
	j.eventually("no subscription on "+listing, func() (bool, any) {
		all := j.list("subscriptions", "listing", listing)
		if len(all) == 1 {
			sub = all[0]
		}
		return len(all) == 1 && sub["status"] == "active", all
	})
	name := strings.ReplaceAll(listing, "-", "")
	account := j.send(http.StatusCreated, "billing-accounts", object{"user_name": name, "email": name + "@example.com", "currency": "CNY"})
	j.send(http.StatusOK, fmt.Sprintf("cloud-accounts/%s/claim", sub["cloud_account_id"]), object{"billing_account_id": account["id"]})
	ws := j.send(http.StatusCreated, "workspaces", object{"name": name, "site": site, "owner_email": "dev@example.com"})
	j.send(http.StatusCreated, "bindings", object{
		"workspace_id": ws["id"], "billing_account_id": account["id"],
		"settlement": object{"method": "cloud_account", "subscription_id": sub["id"]},
	})
	return customer{sub["id"].(string), sub["provider_subscription_id"].(string), ws["id"].(string)}
}

// priced imports a price for logs in both zones.
func (j *journey) priced() {
	j.t.Helper()
	for zone, currency := range map[string]string{"CN": "CNY", "INTL": "USD"} {
		j.send(http.StatusCreated, "price-books", object{
			"name": zone, "zone": zone, "currency": currency, "effective_from": "2026-01-01", "scale": 6,
			"items": []object{{"item": "logs", "unit": "1000000", "aggregation": "sum", "prices": []object{{"variant": "14d", "price": "1.5"}}}},
		})
	}
}

// TestFlush goes the whole way on each marketplace while its metering fails in
// every way it can: usage, the bill of the day, POST flush, and what the
// marketplace will bill. What nobody can know is decided by hand.
func TestFlush(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.priced()
	for _, c := range []struct {
		listing, event, site string
		params               map[string]string
		zone                 *time.Location
		faults               []string // one after the other, each until a flush met it
		byHand               bool
	}{
		{
			listing: "aws-main", event: "subscribe", site: "us1", zone: time.UTC,
			params: map[string]string{"license": "l-flush", "agreement": "agmt-flush", "account": "123456789012"},
			faults: []string{`{"throttle":1}`, `{"fail":1}`, `{"unprocessed":1}`, `{"fail_after":1}`, `{"lose_reply":1,"duplicate_for_identical":true}`},
		},
		{
			listing: "ali-cn", event: "createInstance", site: "cn1", zone: time.FixedZone("UTC+8", 8*3600),
			params: map[string]string{"orderBizId": "1234567", "orderId": "7654321", "aliUid": "1000001"},
			faults: []string{`{"throttle":1}`, `{"denied":1}`, `{"lose_answer":1}`}, byHand: true,
		},
		{
			listing: "hw-cn", event: "newInstance", site: "cn4", zone: time.FixedZone("UTC+8", 8*3600),
			params: map[string]string{"orderId": "CS1", "orderLineId": "CS1-1", "businessId": "b-1", "customerId": "c1", "chargingMode": "ON_DEMAND"},
			faults: []string{`{"throttle":1}`, `{"dropped":1}`, `{"broken_after":1}`, `{"lost":1}`},
		},
	} {
		t.Run(c.listing, func(t *testing.T) {
			j := j.on(t)
			x := j.becomes(c.listing, c.event, c.site, c.params)
			now := j.clock.Now()
			hour := now.UTC().Truncate(time.Hour)
			j.send(http.StatusOK, "usage", []object{{
				"workspace_id": x.workspace, "item": "logs", "variant": "14d", "hour": hour.Format(time.RFC3339), "quantity": "12345678",
			}}) // 18.518517: 1851 units
			y, m, d := now.In(c.zone).Date()
			day := time.Date(y, m, d, 0, 0, 0, 0, c.zone)
			j.misbehaves(c.listing, c.faults[0])
			j.later(day.AddDate(0, 0, 1).Add(32 * time.Minute).Sub(now))
			j.settles(day.Format(time.DateOnly))
			j.flushes(x, c.listing, c.faults)
			j.billed(x, c.listing, c.byHand)
		})
	}
	if v := j.get("verify"); v["ok"] != true {
		t.Errorf("verify: %v", v)
	}
}

// settles waits for a day to be settled.
func (j *journey) settles(day string) {
	j.t.Helper()
	run := j.send(http.StatusAccepted, "settlement-runs", object{"kind": "daily", "period": day})
	j.eventually("the day is not settled", func() (bool, any) {
		run = j.get("settlement-runs/" + run["id"].(string))
		return run["status"] == "done", run
	})
}

// record returns the one metering record of a customer, or nil.
func (j *journey) record(x customer) object {
	j.t.Helper()
	all := j.list("metering-records", "subscription_id", x.subscription)
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	j.t.Fatalf("there are %d records: %v", len(all), all)
	return nil
}

// flushes meets one fault after the other, until the record is final or nobody
// but a person can go on.
func (j *journey) flushes(x customer, listing string, faults []string) {
	j.t.Helper()
	met := 0.0
	j.eventually("the record does not end", func() (bool, any) {
		j.send(http.StatusAccepted, "metering-records/flush", nil)
		r := j.record(x)
		if r == nil {
			return false, "there is no record"
		}
		if r["status"] == "accepted" || r["status"] == "unknown" && r["retry_at"] == nil {
			return true, nil
		}
		if n := r["attempts"].(float64); n > met {
			met = n
			next := `{}`
			if int(n) < len(faults) {
				next = faults[int(n)]
			}
			j.misbehaves(listing, next)
		}
		j.later(30 * time.Second)
		return false, r
	})
	if int(met) < len(faults)-1 {
		j.t.Errorf("only %v attempts were made, want %d faults met", met, len(faults))
	}
}

// billed checks what the marketplace will bill, after a person decided.
func (j *journey) billed(x customer, listing string, byHand bool) {
	j.t.Helper()
	r := j.record(x)
	id := r["id"].(string)
	if byHand {
		if health := j.get("subscriptions/" + x.subscription + "/metering")["health"]; health != "stuck" {
			j.t.Errorf("health %v with a record that waits for a person, want stuck", health)
		}
		decision := object{"outcome": "accepted", "reason": "the order page of the marketplace has it"}
		j.send(http.StatusOK, "metering-records/"+id+"/resolve", decision)
		r = j.send(http.StatusOK, "metering-records/"+id+"/resolve", decision)
	} else {
		j.send(http.StatusConflict, "metering-records/"+id+"/resolve", object{"outcome": "not_accepted", "reason": "no"})
	}
	if r["status"] != "accepted" || r["units"] != 1851.0 {
		j.t.Errorf("the record is %v, want 1851 units accepted", r)
	}
	if units := j.metered(listing, x.subject, r["dimension"].(string)); units != 1851 {
		j.t.Errorf("%s bills %d units, want 1851", listing, units)
	}
	st := j.get("subscriptions/" + x.subscription + "/metering")
	if st["accepted_units"] != 1851.0 || fmt.Sprint(st["carry"].(object)["amount"]) != "0.008517" || st["health"] != "reporting" {
		j.t.Errorf("metering of the subscription %v, want 1851 units and 0.008517 carried, reporting", st)
	}
}

// TestFinalFlush: a subscription ends while its marketplace's metering is away
// for half an hour. What was used up to the end is billed, within the final
// window.
func TestFinalFlush(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.priced()
	for _, c := range []struct {
		listing, event, site string
		params               map[string]string
		outage, end          string
		endParams            func(customer) map[string]string
		within               time.Duration
	}{
		{
			listing: "aws-main", event: "subscribe", site: "us1",
			params: map[string]string{"license": "l-final", "agreement": "agmt-final", "account": "123456789012"},
			outage: `{"outage_seconds":1800}`, end: "unsubscribe", within: time.Hour,
			endParams: func(customer) map[string]string { return map[string]string{"agreement": "agmt-final"} },
		},
		{
			listing: "ali-cn", event: "createInstance", site: "cn1",
			params: map[string]string{"orderBizId": "2234567", "orderId": "8654321", "aliUid": "2000001"},
			outage: `{"outage":"30m"}`, end: "releaseInstance", within: 59 * time.Minute,
			endParams: func(x customer) map[string]string { return map[string]string{"instanceId": x.subject} },
		},
		{
			listing: "hw-cn", event: "newInstance", site: "cn4",
			params: map[string]string{"orderId": "CS2", "orderLineId": "CS2-1", "businessId": "b-2", "customerId": "c2", "chargingMode": "ON_DEMAND"},
			outage: `{"outage":"30m"}`, end: "releaseInstance", within: 2 * time.Hour,
			endParams: func(x customer) map[string]string { return map[string]string{"instanceId": x.subject} },
		},
	} {
		t.Run(c.listing, func(t *testing.T) {
			j := j.on(t)
			x := j.becomes(c.listing, c.event, c.site, c.params)
			j.later(2 * time.Hour)
			j.send(http.StatusOK, "usage", []object{{
				"workspace_id": x.workspace, "item": "logs", "variant": "14d", "quantity": "12345678",
				"hour": j.clock.Now().UTC().Truncate(time.Hour).Format(time.RFC3339),
			}})
			j.later(20 * time.Minute)
			j.misbehaves(c.listing, c.outage)
			ended := j.clock.Now()
			if a := j.trigger(c.listing, c.end, c.endParams(x)); !a.Accepted {
				t.Fatalf("%s: %d %s %s", c.end, a.Status, a.Body, a.Error)
			}
			var r object
			j.eventually("there is no final record", func() (bool, any) {
				r = j.record(x)
				return r != nil, r
			})
			for r["status"] != "accepted" && j.clock.Now().Before(ended.Add(c.within)) {
				j.send(http.StatusAccepted, "metering-records/flush", nil)
				r = j.record(x)
				j.later(30 * time.Second)
			}
			deadline, err := time.Parse(time.RFC3339, r["deadline"].(string))
			if err != nil || r["status"] != "accepted" || deadline.After(ended.Add(c.within+time.Minute)) {
				t.Errorf("ended at %s, the record is %v, want it accepted and due within %s", ended, r, c.within)
			}
			if units := j.metered(c.listing, x.subject, r["dimension"].(string)); units != 1851 {
				t.Errorf("%s bills %d units, want 1851", c.listing, units)
			}
		})
	}
	if v := j.get("verify"); v["ok"] != true {
		t.Errorf("verify: %v", v)
	}
}

// TestMeteringIsMonitored: the metrics have every alarm and state of every
// listing from the beginning, so that a first one is seen to rise.
func TestMeteringIsMonitored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "cloudsettle.yaml")
	text := fmt.Sprintf(journeyConfig, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1", dir, fresh.URL(t, dir))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := openApp(t.Context(), cfg, appOptions{dev: newDevTools(), log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	if err := errors.Join(a.svc.WatchMeters(t.Context()), a.svc.SurveyMeters(t.Context())); err != nil {
		t.Fatal(err)
	}
	a.metrics.count("aws-main", metering.TroubleExpired, 3)
	w := httptest.NewRecorder()
	a.admin.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`cloudsettle_metering_records{alarm="critical",listing="aws-main"} 0`,
		`cloudsettle_metering_records{alarm="calm",listing="hw-cn"} 0`,
		`cloudsettle_metering_oldest_seconds{listing="ali-cn"} 0`,
		`cloudsettle_metering_subscriptions{health="silent",listing="ali-cn"} 0`,
		`cloudsettle_metering_alarms_total{alarm="expired",listing="aws-main"} 3`,
		`cloudsettle_metering_alarms_total{alarm="unknown",listing="hw-cn"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("/metrics has no line %s", want)
		}
	}
}

// TestAlertsAreChecked: a mistyped address would be noticed when it is needed.
func TestAlertsAreChecked(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]Alerts{
		"":                    {Email: []string{"oncall@example.com"}, SilentHours: 24},
		"alerts.email[1]":     {Email: []string{"oncall@example.com", "oncall"}, SilentHours: 24},
		"alerts.silent_hours": {SilentHours: 0},
	} {
		err := a.validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
}
