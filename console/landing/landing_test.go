package landing_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

func TestNewBuyer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tab := b.open(b.buy()).see(200, "Plain Marketplace", "pro-yearly", "active", "123456789012", "21 November 2027")
	tab.send("register", "user_name", "acme", "email", "ops@acme.example", "phone", "+86 138-0000 0000").
		see(200, "Your billing account acme was created", "ops@acme.example")
	tab.send("code", "code", b.code("ops@acme.example")).see(200, "Bind a workspace", "A new one", "By its ID").miss("One of mine")
	tab.send("new", "name", "prod", "site", "cn1").
		see(200, "Workspace prod is bound", "China 1 (Hangzhou)", "Bind another workspace")

	a, err := b.svc.BillingAccounts(t.Context(), core.Actor{}, core.Page{Limit: 10})
	if err != nil || len(a.Items) != 1 || a.Items[0].Phone != "+8613800000000" || a.Items[0].Currency != "CNY" {
		t.Errorf("billing accounts = %+v, %v, want one with its phone, in CNY", a.Items, err)
	}
	cloud, err := b.svc.CloudAccounts(t.Context(), core.Actor{}, a.Items[0].ID, core.Page{Limit: 10})
	if err != nil || len(cloud.Items) != 1 || len(cloud.Items[0].Workspaces) != 1 {
		t.Errorf("cloud accounts of the buyer = %+v, %v, want one that settles one workspace", cloud.Items, err)
	}
}

func TestKnownBuyer(t *testing.T) {
	t.Parallel()
	for _, login := range []string{"acme", " ACME ", "acme@example.com"} {
		b := setup(t)
		acc := b.account("acme")
		ws := b.workspace("stage", "cn2", acc)
		b.workspace("far", "us1", acc)
		tab := b.open(b.buy()).send("signin", "login", login).see(200, "Enter your code")
		code := b.code("acme@example.com")
		tab.send("code", "code", " "+code[:3]+" "+code[3:]+" ").see(200, "One of mine", "stage").miss(">far<")
		tab.send("own", "workspace", string(ws)).see(200, "Workspace stage is bound")
	}
}

func TestByID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	mine, other := b.account("acme"), b.account("other")
	free, taken, far := b.workspace("free", "cn1", ""), b.workspace("taken", "cn1", other), b.workspace("far", "us1", "")
	tab := b.open(b.stay(b.buy(), mine))
	for ws, says := range map[string]string{
		"":            "Choose a workspace, or enter its ID.",
		"ws_none":     "There is no workspace with this ID.",
		string(taken): "This workspace is bound to another billing account",
		string(far):   "settle through other",
	} {
		tab.send("id", "workspace", ws).see(422, says)
		if n := tab.find(func(n *html.Node) bool { return attr(n, "id") == "id-workspace" }); attr(n, "value") != ws || attr(n, "aria-invalid") != "true" {
			t.Errorf("after %q the field holds %q, invalid %q, want it kept and marked", ws, attr(n, "value"), attr(n, "aria-invalid"))
		}
	}
	tab.send("id", "workspace", string(free)).see(200, "Workspace free is bound")
	tab.send("id", "workspace", string(free)).see(200, "Workspace free is bound") // a repeat changes nothing
}

// TestSentTwice: a form that is sent again, as by a double click, makes
// nothing twice.
func TestSentTwice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := b.buy()
	first, second := b.open(path), &tab{}
	*second = *first
	for _, tab := range []*tab{first, second} {
		tab.send("register", "user_name", "acme", "email", "ops@acme.example").see(200, "was created")
	}
	first.send("code", "code", b.code("ops@acme.example")).see(200, "A new one")
	*second = *first
	for _, tab := range []*tab{first, second} {
		tab.send("new", "name", "prod", "site", "cn1").see(200, "Workspace prod is bound")
	}
	w, err := b.svc.Workspaces(t.Context(), core.Actor{}, "", core.Page{Limit: 10})
	if err != nil || len(w.Items) != 1 || len(b.inbox.Messages("")) != 1 {
		t.Errorf("workspaces = %d, mails = %d, %v, want one of each", len(w.Items), len(b.inbox.Messages("")), err)
	}
}

func TestAlreadyBound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	acc, other := b.account("acme"), b.account("other")
	path := b.buy()
	b.open(b.stay(path, acc)).send("new", "name", "prod", "site", "cn1").see(200, "Workspace prod is bound")

	tab := b.open(path).see(200, "This purchase is connected to a billing account").miss("prod", "acme", "I am new here")
	tab.send("signin", "login", "other").see(200)
	tab.send("code", "code", b.code("other@example.com")).
		see(200, "This purchase belongs to another billing account").miss("prod", "acme<", "By its ID")
	b.open(b.stay(path, acc)).see(200, "Already bound", "prod")

	tab.post(b.stay(path, other)+"/bind", url.Values{"way": {"new"}, "name": {"x"}, "site": {"cn1"}})
	tab.see(409, "This purchase belongs to another billing account")
	tab.post(path+"/register", url.Values{"user_name": {"third"}, "email": {"third@example.com"}})
	tab.see(409, "Sign in")
}

func TestWrongFields(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account("acme")
	tab := b.open(b.buy())
	tab.send("register", "user_name", "1 <b>", "email", "ops", "phone", "12").
		see(422, "User name: Must be 3 to 64", "E-mail: Must be an e-mail address.", "Phone (optional): Must be a number")
	for id, want := range map[string]string{"register-user_name": "1 <b>", "register-email": "ops", "register-phone": "12"} {
		n := tab.find(func(n *html.Node) bool { return attr(n, "id") == id })
		if attr(n, "value") != want || !strings.Contains(attr(n, "aria-describedby"), id+"-error") {
			t.Errorf("field %s holds %q, described by %q, want %q and its error", id, attr(n, "value"), attr(n, "aria-describedby"), want)
		}
	}
	tab.send("register", "user_name", "ACME", "email", "ops@acme.example", "phone", "").
		see(422, `User name: Another billing account signs in with "ACME".`)
	tab.send("signin", "login", "  ").see(422, "Enter the user name, e-mail or phone")
	tab.send("signin", "login", "acme").send("code", "code", "000000x").see(422, "This code is wrong")
	tab.send("code", "code", b.code("acme@example.com")).see(200, "Bind a workspace")
	tab.send("new", "name", " ", "site", "zz").see(422, "Workspace name: Must be 1 to 64", "Site: Is not a configured site.")
}

// TestCodes: a code works once, for its account, for ten minutes; and nobody
// learns whether there is an account.
func TestCodes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.account("acme")
	path := b.buy()
	known, unknown := b.open(path).send("signin", "login", "acme"), b.open(path).send("signin", "login", "nobody")
	if got, want := unknown.words(), strings.ReplaceAll(known.words(), "acme", "nobody"); got != want {
		t.Errorf("unknown account = %q, want as for a known one %q", got, want)
	}
	code := b.code("acme@example.com")
	unknown.send("code", "code", code).see(422, "This code is wrong")
	used := *known
	known.send("code", "code", code).see(200, "Bind a workspace")
	used.send("code", "code", code).see(422, "This code is wrong")

	if err := b.clock.Set(start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	late := b.open(path).send("signin", "login", "acme")
	code = b.code("acme@example.com")
	if err := b.clock.Set(start.Add(time.Hour + 11*time.Minute)); err != nil {
		t.Fatal(err)
	}
	late.send("code", "code", code).see(422, "too old")
}

func TestLinks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	acc := b.account("acme")
	path := b.tell("order-1", marketplace.Activated, "1")
	stay := b.stay(path, acc)
	for _, bad := range []string{"/landing/x", "/landing/" + strings.Repeat("A", 60), path[:len(path)-2], path + "AA", stay + "x"} {
		b.open(bad).see(404, "This link does not work").miss("pro-yearly", "123456789012")
	}
	if err := b.clock.Set(start.Add(31 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	b.open(stay).see(410, "This link has expired", "Go back to Plain Marketplace. Open your purchased services").miss("pro-yearly")
	b.open(path).see(200, "Do you have a billing account?")
	visit := b.tell("order-1", marketplace.Registered, "1")
	if err := b.clock.Set(start.AddDate(2, 0, 0)); err != nil {
		t.Fatal(err)
	}
	b.open(path).see(200, "Do you have a billing account?") // a marketplace goes on showing it
	tab := b.open(visit).see(410, "This link has expired")
	tab.post(visit+"/code", url.Values{"login": {"acme"}})
	if tab.see(410); len(b.inbox.Messages("")) > 0 {
		t.Error("an expired link sent a mail")
	}
}

// TestOtherSites: a form that another site sends changes nothing.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := b.stay(b.buy(), b.account("acme"))
	form := url.Values{"way": {"new"}, "name": {"x"}, "site": {"cn1"}}
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		{"Sec-Fetch-Site", "", "Origin", "null"},
	} {
		tab := b.open(path)
		tab.post(path+"/bind", form, header...)
		tab.see(403, "This form was not sent from our page")
	}
	tab := b.open(path)
	tab.post(path+"/bind", form, "Sec-Fetch-Site", "", "Origin", "https://billing.example.com") // through a proxy
	tab.see(200, "Workspace x is bound")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tab := b.open(b.buy())
	path := tab.path
	tab.post(path+"/code", url.Values{"login": {strings.Repeat("x", 20<<10)}})
	tab.see(400, "This form cannot be read")
	tab.post(path+"/bind", url.Values{"way": {"new"}})
	tab.see(200, "Do you have a billing account?") // not signed in
	tries := 0
	for tab.code != 429 && tries < 100 {
		tab.post(path+"/code", url.Values{"login": {"nobody"}})
		tries++
	}
	if tries != 31 {
		t.Errorf("attempt %d was one too many, want 31", tries)
	}
	if err := b.clock.Set(start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	tab.post(path+"/code", url.Values{"login": {"nobody"}})
	tab.see(200)
}

func TestStates(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tell   func(b *bundle) string
		before string // signing in
		after  string
		forms  bool // before signing in
	}{
		"Pending": {func(b *bundle) string { return b.tell("o", marketplace.Registered, "1") },
			"Waiting for confirmation", "Waiting for confirmation", true},
		"Frozen": {func(b *bundle) string { b.buy(); return b.tell("order-1", marketplace.Expired, "2") },
			"This purchase is paused", "Renew or pay on Plain Marketplace", false},
		"Ending": {func(b *bundle) string { b.buy(); return b.tell("order-1", marketplace.Ending, "2") },
			"This purchase is being cancelled", "buy the product again", false},
		"Ended": {func(b *bundle) string { b.buy(); return b.tell("order-1", marketplace.Ended, "2") },
			"This purchase has ended", "their data is kept for 14 days", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			path := c.tell(b)
			tab := b.open(path).see(200, c.before)
			if got := strings.Contains(tab.text, "<form"); got != c.forms {
				t.Errorf("before signing in there are forms: %v, want %v", got, c.forms)
			}
			b.open(b.stay(path, b.account("acme"))).see(200, c.after).miss("<form")
		})
	}
}

// TestEndsMeanwhile: what was over when the form was sent is said, not hidden.
func TestEndsMeanwhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tab := b.open(b.stay(b.buy(), b.account("acme")))
	b.tell("order-1", marketplace.Ended, "2")
	tab.send("new", "name", "prod", "site", "cn1").see(409, "This purchase has ended").miss("<form")
}
