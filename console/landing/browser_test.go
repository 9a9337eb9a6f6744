package landing_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/net/html"

	"cloudsettle/console/dev"
	"cloudsettle/console/landing"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// start is when the tests begin; the clock stands still until it is moved.
var start = time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)

// bundle is the landing pages on a real service and a real store.
type bundle struct {
	testing.TB

	echo  *echo.Echo
	svc   *core.Service
	inbox *dev.Inbox
	clock *dev.Clock
}

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{TB: t, echo: echo.New(), clock: dev.NewClock(func() time.Time { return start })}
	b.inbox = dev.NewInbox(b.clock.Now)
	b.svc = core.NewService(core.Config{
		Store:  fresh.Open(t),
		Mailer: b.inbox, Now: b.clock.Now, NewID: id.NewGenerator(b.clock.Now).New, LinkKey: make([]byte, 32), Brand: "Acme Logs",
		Marketplaces: []core.Marketplace{{Listing: core.Listing{ID: "plain-cn", Provider: "plain", Currency: "CNY", OnRelease: workspace.Lock}}},
		Sites: []workspace.Site{
			{Code: "cn1", Cloud: "plain", Zone: time.UTC}, {Code: "cn2", Zone: time.UTC}, {Code: "us1", Cloud: "other", Zone: time.UTC},
		},
	})
	err := landing.Register(b.echo, b.svc, landing.Options{
		Brand: "Acme Logs", SupportEmail: "support@example.com", PublicURL: "https://billing.example.com",
		Marketplaces: map[marketplace.Provider]landing.Marketplace{
			"plain": {Name: "Plain Marketplace", Reopen: "Open your purchased services and choose “Sign in”."},
		},
		Sites: map[string]string{"cn1": "China 1 (Hangzhou)"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tell applies an event about one subscription and returns its landing path.
func (b *bundle) tell(subject string, kind marketplace.Kind, rank string) string {
	b.Helper()
	yes := true
	out, err := b.svc.Handle(b.Context(), core.Marketplace{}, core.Callback{ReceivedAt: b.clock.Now()}, marketplace.Event{
		Listing: "plain-cn", Provider: "plain", Kind: kind, Subject: subject, Account: "123456789012", AccountName: "Example Ltd",
		Rank: rank, SKU: "pro-yearly", Quantity: 5, Trial: &yes, ExpiresAt: start.AddDate(1, 0, 0),
	})
	if err != nil {
		b.Fatal(err)
	}
	return out.Landing
}

// buy makes an active subscription and returns its landing path.
func (b *bundle) buy() string {
	b.Helper()
	return b.tell("order-1", marketplace.Activated, "1")
}

func (b *bundle) account(name string) account.ID {
	b.Helper()
	a, err := b.svc.CreateBillingAccount(b.Context(), core.Request{}, account.Account{
		UserName: name, Email: name + "@example.com", Currency: "CNY",
	})
	if err != nil {
		b.Fatal(err)
	}
	return a.ID
}

func (b *bundle) workspace(name, site string, payer account.ID) workspace.ID {
	b.Helper()
	w, err := b.svc.CreateWorkspace(b.Context(), core.Request{}, workspace.Workspace{Name: name, Site: site, OwnerEmail: "dev@example.com"})
	if err == nil && payer != "" {
		_, err = b.svc.Bind(b.Context(), core.Request{}, core.Want{
			Workspace: w.ID, BillingAccount: payer, Settlement: workspace.Settlement{Method: workspace.ByBillingAccount},
		})
	}
	if err != nil {
		b.Fatal(err)
	}
	return w.ID
}

// stay returns the page of an account that has signed in.
func (b *bundle) stay(path string, acc account.ID) string {
	b.Helper()
	link, err := b.svc.OpenLanding(b.Context(), strings.TrimPrefix(path, "/landing/"))
	if err != nil {
		b.Fatal(err)
	}
	return b.svc.StayPath(link.Subscription, acc)
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// code returns the newest code that was mailed to an address.
func (b *bundle) code(to string) string {
	b.Helper()
	if err := b.svc.RunTasks(b.Context()); err != nil {
		b.Fatal(err)
	}
	mails := b.inbox.Messages(to)
	if len(mails) == 0 {
		b.Fatalf("no mail to %s", to)
	}
	return sixDigits.FindString(mails[0].Text)
}

// tab is a browser's tab: what it shows, and where.
type tab struct {
	*bundle

	path string
	code int
	head http.Header
	text string
	doc  *html.Node
}

func (b *bundle) open(path string) *tab {
	b.Helper()
	t := &tab{bundle: b}
	t.request(httptest.NewRequestWithContext(b.Context(), "GET", path, nil))
	return t
}

// request sends a request and follows where it leads.
func (t *tab) request(r *http.Request) {
	t.Helper()
	rec := httptest.NewRecorder()
	t.echo.ServeHTTP(rec, r)
	if to := rec.Header().Get("Location"); rec.Code == http.StatusSeeOther {
		t.request(httptest.NewRequestWithContext(t.Context(), "GET", to, nil))
		return
	}
	doc, err := html.Parse(strings.NewReader(rec.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	t.path, t.code, t.head, t.text, t.doc = r.URL.Path, rec.Code, rec.Header(), rec.Body.String(), doc
}

// send fills the form with an id and sends it, as a browser would: with its
// hidden fields, and what fields held already.
func (t *tab) send(form string, fill ...string) *tab {
	t.Helper()
	n := t.find(func(n *html.Node) bool { return n.Data == "form" && attr(n, "id") == form })
	if n == nil {
		t.Fatalf("%s has no form %q: %s", t.path, form, t.words())
	}
	values := url.Values{}
	for in := range n.Descendants() {
		if in.Data == "input" && attr(in, "type") != "radio" {
			values.Set(attr(in, "name"), attr(in, "value"))
		}
	}
	for i := 0; i < len(fill); i += 2 {
		values.Set(fill[i], fill[i+1])
	}
	t.post(attr(n, "action"), values)
	return t
}

func (t *tab) post(path string, values url.Values, header ...string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	t.request(r)
}

func (t *tab) find(is func(*html.Node) bool) *html.Node {
	for n := range t.doc.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			return n
		}
	}
	return nil
}

// words returns the text of the page's main part.
func (t *tab) words() string {
	n := t.find(func(n *html.Node) bool { return n.Data == "main" })
	if n == nil {
		return ""
	}
	return text(n)
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func attr(n *html.Node, name string) string {
	i := slices.IndexFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
	if i < 0 {
		return ""
	}
	return n.Attr[i].Val
}

// see checks the status and that the page says all of these.
func (t *tab) see(code int, says ...string) *tab {
	t.Helper()
	if t.code != code {
		t.Errorf("%s = %d %s, want %d", t.path, t.code, t.words(), code)
	}
	for _, s := range says {
		if !strings.Contains(t.words(), s) {
			t.Errorf("%s says %q, want it to say %q", t.path, t.words(), s)
		}
	}
	return t
}

// miss checks that the page says none of these.
func (t *tab) miss(says ...string) *tab {
	t.Helper()
	for _, s := range says {
		if strings.Contains(t.text, s) {
			t.Errorf("%s says %q, want it not to", t.path, s)
		}
	}
	return t
}
