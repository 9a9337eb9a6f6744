package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloudsettle/adapters"
	"cloudsettle/console/dev"
	"cloudsettle/store/fresh"
)

// How journeys run.
const (
	journeyCompress = 3600             // an hour of retries is a second
	journeyPatience = 20 * time.Second // for what follows in the background
)

// journeyConfig is a configuration for serve --dev on simulators that a test
// starts itself.
const journeyConfig = `
listen: %[1]s
admin_listen: %[2]s
store: %[7]s
master_key: file:%[6]s/master.key
log_level: error
alerts: {email: [oncall@example.com]}
sites:
  - {code: cn1, name: China 1, time_zone: Asia/Shanghai, zone: CN, cloud: alibaba}
  - {code: cn4, name: China 4, time_zone: Asia/Shanghai, zone: CN, cloud: huawei}
  - {code: us1, name: US 1, time_zone: UTC, zone: INTL, cloud: aws}
listings:
  - {id: aws-main, provider: aws, product_code: aw4fgf5tyo5w2ap6fexample, region: us-east-1,
     endpoint: "http://%[3]s", access_key_id: AKIDEXAMPLE, secret_access_key: secret,
     event_api_key: event-key-0001, currency: USD, on_release: lock,
     metering: {dimension: usage_fee, unit_amount: "0.01"}}
  - {id: ali-cn, provider: alibaba, site: cn, product_code: cmgj00012345, spi_key: spi-key-0001,
     access_key_id: ak, access_key_secret: sk, endpoint: "http://%[4]s", currency: CNY,
     on_release: settle_by_wallet,
     metering: {key: Unit, assist: cmgj00012345-Unit-1, unit_amount: "0.01", cycle: hourly}}
  - {id: hw-cn, provider: huawei, site: cn, product_code: OFFI1, key: hw-key-0001, access_key_id: ak,
     secret_access_key: sk, endpoint: "http://%[5]s", currency: CNY, on_release: lock,
     metering: {unit_amount: "0.01"}}
`

// journey is a server as serve --dev --config starts it, with the simulator of
// each listing, all on networks that repeat, delay and lose.
type journey struct {
	*rig
	pages map[string]string // where a person buys
	clock *dev.Clock        // of the simulators; the server has one of its own
}

func newJourney(t *testing.T) *journey {
	t.Helper()
	dir := t.TempDir()
	public, admin := freePort(t), freePort(t)
	text := fmt.Sprintf(journeyConfig, public, admin, freePort(t), freePort(t), freePort(t), dir, fresh.URL(t, dir))
	j := &journey{pages: map[string]string{}, clock: dev.NewClock(time.Now), rig: &rig{
		t: t, dir: dir, config: filepath.Join(dir, "cloudsettle.yaml"), serve: []string{"--dev"},
		url: "http://" + public, admin: "http://" + admin, sims: map[string]adapters.Simulator{},
	}}
	if err := os.WriteFile(j.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(j.config, nil)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	sims, err := startSimulators(cfg, j.url, simOptions{
		compress: journeyCompress, seed: seed, hostile: true, now: j.clock.Now, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sims.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range sims.list {
		j.sims[s.id], j.pages[s.id] = s.sim, s.url
	}
	t.Cleanup(j.kill)
	j.start()
	return j
}

// object is what the API answers with.
type object = map[string]any

// get reads a resource as the operator.
func (j *journey) get(path string) object {
	j.t.Helper()
	req, err := http.NewRequestWithContext(j.t.Context(), http.MethodGet, j.url+"/api/v1/"+path, nil)
	if err != nil {
		j.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bootstrap)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		j.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out object
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != http.StatusOK {
		j.t.Fatalf("GET %s = %s %v, %v", path, resp.Status, out, err)
	}
	return out
}

// list reads all items of a collection that have a value in a field.
func (j *journey) list(path, field, value string) []object {
	j.t.Helper()
	var out []object
	for _, item := range j.get(path + "?limit=200")["data"].([]any) {
		if o := item.(object); o[field] == value {
			out = append(out, o)
		}
	}
	return out
}

// quiet waits until a listing's simulator has delivered everything.
func (j *journey) quiet(listing string) {
	j.t.Helper()
	if err := j.sims[listing].Wait(j.t.Context()); err != nil {
		j.t.Fatal(err)
	}
}

// eventually waits for what follows from callbacks in the background.
func (j *journey) eventually(what string, true func() (bool, any)) {
	j.t.Helper()
	for began := time.Now(); ; {
		ok, got := true()
		if ok {
			return
		}
		if time.Since(began) > journeyPatience {
			j.t.Fatalf("%s: %v", what, got)
		}
		time.Sleep(10 * time.Millisecond) // only the API tells when it is done
	}
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// code returns the newest sign-in code that was mailed to an address.
func (j *journey) code(to string) (code string) {
	j.t.Helper()
	j.eventually("no code was mailed to "+to, func() (bool, any) {
		resp, err := http.Get(j.url + "/dev/inbox?format=json&to=" + url.QueryEscape(to))
		if err != nil {
			j.t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		var inbox struct {
			Data []struct{ Text string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&inbox); err != nil {
			j.t.Fatal(err)
		}
		if len(inbox.Data) > 0 {
			code = sixDigits.FindString(inbox.Data[0].Text)
		}
		return code != "", inbox
	})
	return code
}

// settle registers a billing account on the landing page that b shows and
// binds a new workspace.
func (j *journey) settle(b *browser, name, site string) {
	j.t.Helper()
	b.see("Finish setting up Cloudsettle")
	mail := name + "@acme.example"
	b.press("Create billing account", map[string]string{"user_name": name, "email": mail})
	b.see("Enter your code")
	b.press("Sign in", map[string]string{"code": j.code(mail)})
	b.see("Bind a workspace")
	b.press("Create and bind", map[string]string{"name": name + "-prod", "site": site})
	b.see("Workspace " + name + "-prod is bound")
}

// bound returns the one subscription and workspace of a listing, after it
// checked that the API shows both in its only cloud account.
func (j *journey) bound(listing string) (sub, ws string) {
	j.t.Helper()
	accounts := j.list("cloud-accounts", "listing", listing)
	if len(accounts) != 1 {
		j.t.Fatalf("there are %d cloud accounts of %s, want 1: %v", len(accounts), listing, accounts)
	}
	a := accounts[0]
	subs, spaces := a["subscriptions"].([]any), a["workspaces"].([]any)
	if len(subs) != 1 || len(spaces) != 1 || a["billing_account_id"] == nil || a["status"] != "active" {
		j.t.Fatalf("the cloud account of %s = %v, want it active and claimed, with a subscription and a workspace", listing, a)
	}
	return subs[0].(string), spaces[0].(string)
}

// follows waits until a workspace is in a state and settled in a way: "wallet"
// or by a subscription.
func (j *journey) follows(after, ws, status, settled string) {
	j.t.Helper()
	want := object{"method": "billing_account"}
	if settled != "wallet" {
		want = object{"method": "cloud_account", "subscription_id": settled}
	}
	j.eventually(fmt.Sprintf("after %s: want %s, settled by %s", after, status, settled), func() (bool, any) {
		w := j.get("workspaces/" + ws)
		return w["status"] == status && fmt.Sprint(w["settlement"]) == fmt.Sprint(want), w
	})
}

// comesBack opens the landing page again: somebody who is not signed in can
// connect the purchase to no other account.
func (j *journey) comesBack(b *browser) {
	j.t.Helper()
	b.see("Sign in")
	if b.can("Create billing account") {
		j.t.Error("a purchase that is connected can be connected again")
	}
}

// TestJourney buys on each marketplace as a person would, binds a workspace,
// and lets the purchase go through its life. serve --dev --config seeds nothing.
func TestJourney(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	for _, empty := range []string{"billing-accounts", "workspaces", "cloud-accounts", "callbacks"} {
		if got := j.get(empty)["data"].([]any); len(got) != 0 {
			t.Errorf("a new server has %s: %v", empty, got)
		}
	}
	t.Run("aws", func(t *testing.T) { j.on(t).aws() })
	t.Run("aws, registered first", func(t *testing.T) { j.on(t).awsRegisteredFirst() })
	t.Run("alibaba", func(t *testing.T) { j.on(t).alibaba() })
	t.Run("huawei", func(t *testing.T) { j.on(t).huawei() })
	j.wasHostile()
}

// wasHostile fails if the networks behaved, for then the test tests less than
// it says.
func (j *journey) wasHostile() {
	j.t.Helper()
	lost, repeated := 0, 0
	for _, sim := range j.sims {
		for _, a := range sim.Attempts() {
			if a.Lost {
				lost++
			} else if a.N > 1 {
				repeated++
			}
		}
	}
	if lost == 0 || repeated == 0 {
		j.t.Errorf("%d answers were lost and %d callbacks repeated, want some of each", lost, repeated)
	}
}

// on returns j for a subtest.
func (j *journey) on(t *testing.T) *journey {
	r := *j.rig
	r.t = t
	return &journey{rig: &r, pages: j.pages, clock: j.clock}
}

// later moves all clocks on.
func (j *journey) later(d time.Duration) {
	j.t.Helper()
	now := j.clock.Now().Add(d)
	if err := j.clock.Set(now); err != nil {
		j.t.Fatal(err)
	}
	body := strings.NewReader(`{"now":"` + now.Format(time.RFC3339) + `"}`)
	req, err := http.NewRequestWithContext(j.t.Context(), http.MethodPut, j.url+"/dev/clock", body)
	if err != nil {
		j.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		j.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		j.t.Fatalf("PUT /dev/clock %s = %s, %v", now, resp.Status, err)
	}
}

// do presses a button of a marketplace's page and waits for the callbacks.
func (j *journey) do(b *browser, listing, button string, values map[string]string) {
	j.t.Helper()
	b.open(j.pages[listing])
	b.press(button, values)
	j.quiet(listing)
	b.open(j.pages[listing])
}

func (j *journey) aws() {
	b := newBrowser(j.t)
	j.do(b, "aws-main", "Subscribe", map[string]string{"account": "123456789012"})
	// The events arrive before the buyer does.
	j.eventually("no subscription after the events", func() (bool, any) {
		subs := j.list("subscriptions", "status", "active")
		return len(subs) == 1, subs
	})
	b.press("Set up your account", nil)
	b.press("Continue to the seller", nil)
	j.settle(b, "amy", "us1")
	sub, ws := j.bound("aws-main")
	b.open(j.pages["aws-main"])
	b.press("Set up your account", nil)
	b.press("Continue to the seller", nil)
	j.comesBack(b)

	j.do(b, "aws-main", "Change quantity", map[string]string{"quantity": "25"})
	j.follows("the change", ws, "active", sub)
	for _, step := range []string{"Renew", "Upgrade (replace)"} {
		j.do(b, "aws-main", step, nil)
		sub = j.successor(sub)
		j.follows(step, ws, "active", sub)
	}
	j.do(b, "aws-main", "Cancel", nil)
	j.do(b, "aws-main", "Close for good", nil)
	j.follows("the end", ws, "locked", sub)
}

// successor waits until the subscription that replaces id is active.
func (j *journey) successor(id string) (next string) {
	j.t.Helper()
	j.eventually("nothing replaces "+id, func() (bool, any) {
		sub := j.get("subscriptions/" + id)
		if next, _ = sub["replaced_by_id"].(string); next == "" {
			return false, sub
		}
		after := j.get("subscriptions/" + next)
		return after["status"] == "active", after
	})
	return next
}

// awsRegisteredFirst comes to the seller before AWS has told of the purchase.
func (j *journey) awsRegisteredFirst() {
	names := map[string]string{"agreement": "agmt-early", "license": "l-early", "account": "210987654321"}
	a := j.trigger("aws-main", "register", names)
	b := newBrowser(j.t)
	b.open(j.url + a.Location)
	b.see("Finish setting up Cloudsettle")
	if !strings.Contains(words(b.page), "Waiting for confirmation") {
		j.t.Errorf("the page does not say that the purchase is not confirmed: %s", words(b.page))
	}
	j.trigger("aws-main", "subscribe", names)
	b.open(j.url + a.Location)
	j.settle(b, "eve", "us1")
	var found []object
	for _, sub := range j.list("subscriptions", "listing", "aws-main") {
		if sub["provider_subscription_id"] == "l-early" {
			found = append(found, sub)
		}
	}
	if len(found) != 1 || found[0]["status"] != "active" {
		j.t.Errorf("the subscriptions of l-early = %v, want one, active", found)
	}
}

func (j *journey) alibaba() {
	b := newBrowser(j.t)
	j.do(b, "ali-cn", "Buy", nil)
	b.follow("Go to the service")
	j.settle(b, "bob", "cn1")
	sub, ws := j.bound("ali-cn")
	b.open(j.pages["ali-cn"])
	b.follow("Login directly")
	j.comesBack(b)

	const day = 24 * time.Hour
	for _, step := range []struct {
		wait           time.Duration
		button, status string
	}{
		{0, "Change the plan", "active"},
		{0, "Let expire", "locked"},
		{0, "Top up and resume", "active"},
		{4 * day, "Let expire", "locked"}, // sooner it could be the first one, late
		{0, "Renew", "active"},
		{70 * day, "Let expire", "locked"}, // sooner the term of the renewal runs
	} {
		if step.wait > 0 {
			j.later(step.wait)
		}
		j.do(b, "ali-cn", step.button, nil)
		j.follows(step.button, ws, step.status, sub)
	}
	j.do(b, "ali-cn", "Release", nil)
	j.follows("the release", ws, "active", "wallet")
}

func (j *journey) huawei() {
	b := newBrowser(j.t)
	j.do(b, "hw-cn", "Buy", nil)
	b.follow("Continue to the seller")
	j.settle(b, "cat", "cn4")
	sub, ws := j.bound("hw-cn")
	b.open(j.pages["hw-cn"])
	b.follow("Continue to the seller")
	j.comesBack(b)

	for _, step := range []struct{ button, status string }{
		{"Renew", "active"}, {"Upgrade", "active"}, {"Freeze", "locked"}, {"Thaw", "active"}, {"Let expire", "locked"},
		{"Renew", "active"},
	} {
		j.do(b, "hw-cn", step.button, nil)
		j.follows(step.button, ws, step.status, sub)
	}
	j.do(b, "hw-cn", "Release", nil)
	j.follows("the release", ws, "locked", sub)
}
