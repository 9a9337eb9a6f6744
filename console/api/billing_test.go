package api_test

import (
	"encoding/csv"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func amount(n, currency string) map[string]any {
	return map[string]any{"amount": n, "currency": currency}
}

// publicBook is the body of the contract, from before the tests on.
const publicBook = `{"name":"public","zone":"CN","currency":"CNY","effective_from":"2026-01-01","scale":6,"items":[
	{"item":"logs","unit":"1000000","aggregation":"sum","prices":[{"variant":"14d","price":"1.5"}]},
	{"item":"time_series","unit":"1000","aggregation":"max","prices":[{"variant":"7d","price":"0.7"}]}]}`

// today is the day at the site.
func (s *server) today() string { return s.svc.Now().Format(time.DateOnly) }

func (s *server) hour(n int) string {
	return s.svc.Now().Truncate(24 * time.Hour).Add(time.Duration(n) * time.Hour).Format(time.RFC3339)
}

// use reports one sample.
func (s *server) use(workspace, item, variant, hour string, quantity any) answer {
	s.t.Helper()
	return s.want(200, "POST", "/api/v1/usage", []any{map[string]any{
		"workspace_id": workspace, "item": item, "variant": variant, "hour": hour, "quantity": quantity,
	}})
}

// tomorrow moves the clock to noon of the next day.
func (s *server) tomorrow() {
	s.t.Helper()
	if err := s.clock.Set(s.svc.Now().Truncate(24 * time.Hour).Add(36 * time.Hour)); err != nil {
		s.t.Fatal(err)
	}
}

// settle runs a settlement to its end.
func (s *server) settle(kind, period string) answer {
	s.t.Helper()
	run := s.want(202, "POST", "/api/v1/settlement-runs", map[string]any{"kind": kind, "period": period, "early": true})
	if err := s.svc.RunSettlements(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	got := s.want(200, "GET", "/api/v1/settlement-runs/"+run.text("id"), nil)
	if got.text("status") != "done" {
		s.t.Fatalf("the run = %s, want it done", got.raw)
	}
	return got
}

// billed gives a tenant a daily and a monthly bill, and returns the id of the
// monthly one.
func (s *server) billed(n tenant) string {
	s.t.Helper()
	s.tomorrow() // noon: no midnight comes between
	s.want(201, "POST", "/api/v1/price-books", publicBook)
	s.use(n.workspace, "logs", "14d", s.hour(0), "2000000")
	day := s.today()
	s.settle("daily", day)
	s.settle("monthly", day[:7])
	return s.want(200, "GET", "/api/v1/bills?billing_account_id="+n.account, nil).list()[0]["id"].(string)
}

// TestFromPricesToVerified goes the whole way through HTTP alone.
func TestFromPricesToVerified(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.tomorrow() // noon: there are hours of the day that are over
	n := s.tenant("acme")
	book := s.want(201, "POST", "/api/v1/price-books", publicBook)
	fields(t, "book", book.body, map[string]any{"version": 1.0, "scale": 6.0, "zone": "CN", "effective_from": "2026-01-01"})
	if got := s.want(200, "GET", "/api/v1/price-books/"+book.text("id"), nil); got.raw != book.raw {
		t.Errorf("GET the book = %s, want %s", got.raw, book.raw)
	}
	s.want(201, "POST", "/api/v1/wallets/"+n.account+"/adjustments",
		map[string]any{"amount": amount("100.00", "CNY"), "reason": "opening balance"})
	s.want(201, "POST", "/api/v1/vouchers", map[string]any{
		"billing_account_id": n.account, "amount": amount("1.00", "CNY"), "valid_until": "2100-01-01T00:00:00Z",
	})
	day := s.today()
	fields(t, "usage", s.use(n.workspace, "logs", "14d", s.hour(3), "1200000").body, map[string]any{"accepted": 1.0})
	s.use(n.workspace, "logs", "14d", s.hour(4), 800000)
	s.use(n.workspace, "time_series", "7d", s.hour(4), "10000")
	samples := s.want(200, "GET", "/api/v1/usage?workspace_id="+n.workspace+"&day="+day, nil)
	if list := samples.list(); len(list) != 3 || list[1]["quantity"] != "800000" || samples.body["sealed"] != false {
		t.Errorf("GET usage = %s, want three samples of an open day", samples.raw)
	}
	preview := s.want(200, "POST", "/api/v1/settlement-runs/preview", map[string]any{"kind": "daily", "period": day, "early": true})
	fields(t, "preview", preview.body, map[string]any{"count": 1.0, "waiting": 0.0, "totals": []any{amount("10.000000", "CNY")}})
	s.refuses("a day that is not over", s.call(s.admin, "POST", "/api/v1/settlement-runs",
		map[string]any{"kind": "daily", "period": day}), 409, "period_not_over")
	s.tomorrow()
	fields(t, "run", s.settle("daily", day).body, map[string]any{"bills": 1.0, "waiting": 0.0})
	bills := s.want(200, "GET", "/api/v1/daily-bills?workspace_id="+n.workspace+"&day="+day, nil).list()
	if len(bills) != 1 {
		t.Fatalf("GET daily-bills = %d, want 1", len(bills))
	}
	fields(t, "daily bill", bills[0], map[string]any{
		"workspace_id": n.workspace, "day": day, "status": "settled", "total": amount("10.000000", "CNY"),
		"price_book_id": book.text("id"), "cloud_charge": amount("0.000000", "CNY"), "arrears": amount("0.000000", "CNY"),
		"unrated": []any{}, "lines": []any{
			map[string]any{
				"item": "logs", "variant": "14d", "quantity": "2000000", "unit": "1000000", "price": "1.5",
				"amount": amount("3.000000", "CNY"),
			},
			map[string]any{
				"item": "time_series", "variant": "7d", "quantity": "10000", "unit": "1000", "price": "0.7",
				"amount": amount("7.000000", "CNY"),
			},
		},
	})
	s.afterDay(t, n, day)
}

// afterDay closes the month of a day that came to 10 CNY.
func (s *server) afterDay(t *testing.T, n tenant, day string) {
	t.Helper()
	wallet := s.want(200, "GET", "/api/v1/wallets/"+n.account, nil).body["balances"].([]any)[0].(map[string]any)
	fields(t, "wallet", wallet, map[string]any{"cash": amount("91.000000", "CNY"), "vouchers": amount("0.000000", "CNY")})
	if v := s.want(200, "GET", "/api/v1/vouchers?billing_account_id="+n.account, nil).list(); len(v) != 1 || v[0]["status"] != "used_up" {
		t.Errorf("GET vouchers = %v, want one that is used up", v)
	}
	if list := s.want(200, "GET", "/api/v1/ledger/transactions?billing_account_id="+n.account, nil).list(); len(list) != 3 {
		t.Errorf("GET ledger = %v, want an adjustment, a grant and a bill", list)
	}
	for _, query := range []string{
		"day=" + day, "billing_account_id=" + n.account + "&day=" + day,
		"workspace_id=" + n.workspace + "&from=" + day + "&to=" + s.today(),
	} {
		if list := s.want(200, "GET", "/api/v1/daily-bills?"+query, nil).list(); len(list) != 1 {
			t.Errorf("GET daily-bills?%s = %d items, want 1", query, len(list))
		}
	}
	month := day[:7]
	s.settle("monthly", month)
	bills := s.want(200, "GET", "/api/v1/bills?billing_account_id="+n.account+"&month="+month, nil).list()
	if len(bills) != 1 || bills[0]["status"] != "paid" || fmt.Sprint(bills[0]["total"]) != "map[amount:10.000000 currency:CNY]" {
		t.Fatalf("GET bills = %v, want one of 10 CNY that is paid", bills)
	}
	export := s.want(200, "GET", "/api/v1/bills/"+bills[0]["id"].(string)+"/export?format=csv", nil)
	rows, err := csv.NewReader(strings.NewReader(export.raw)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][4] != "logs" {
		t.Errorf("export = %q, %v, want a header and two lines", export.raw, err)
	}
	whole := s.want(200, "GET", "/api/v1/bills/"+bills[0]["id"].(string)+"/export", nil)
	if list, _ := whole.body["daily_bills"].([]any); len(list) != 1 {
		t.Errorf("export = %s, want one daily bill", whole.raw)
	}
	late := s.use(n.workspace, "logs", "14d", day+"T05:00:00Z", "1000000")
	fields(t, "late usage", late.body, map[string]any{"late": 1.0, "accepted": 0.0})
	verified := s.want(200, "GET", "/api/v1/verify", nil)
	fields(t, "verify", verified.body, map[string]any{"ok": true, "violations": []any{}})
	if n := verified.body["checked"].(map[string]any)["daily_bills"]; n != 1.0 {
		t.Errorf("verify = %s, want it to have checked a bill", verified.raw)
	}
}

// TestMoneyIsMovedOnce: requests with one key, also at the same time, move
// money once and get the same answer.
func TestMoneyIsMovedOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	id := s.account("acme")
	until := "2100-01-01T00:00:00Z"
	for name, c := range map[string]struct {
		path string
		body map[string]any
	}{
		"adjustment": {"/api/v1/wallets/" + id + "/adjustments", map[string]any{"amount": amount("10", "CNY"), "reason": "r"}},
		"voucher":    {"/api/v1/vouchers", map[string]any{"billing_account_id": id, "amount": amount("3", "CNY"), "valid_until": until}},
		"card":       {"/api/v1/prepaid-cards", map[string]any{"billing_account_id": id, "amount": amount("5", "CNY"), "valid_until": until}},
	} {
		const callers = 8
		var wg sync.WaitGroup
		answers := make([]answer, callers)
		for i := range callers {
			wg.Go(func() { answers[i] = s.call(s.admin, "POST", c.path, c.body, "Idempotency-Key", name) })
		}
		wg.Wait()
		for _, a := range answers {
			if a.status != 201 || a.raw != answers[0].raw {
				t.Errorf("%s = %d %s, want 201 %s", name, a.status, a.raw, answers[0].raw)
			}
		}
		c.body["amount"] = amount("11", "CNY")
		s.refuses(name+" of another amount", s.call(s.admin, "POST", c.path, c.body, "Idempotency-Key", name), 422, "idempotency_key_reused")
	}
	wallet := s.want(200, "GET", "/api/v1/wallets/"+id, nil).body["balances"].([]any)[0].(map[string]any)
	fields(t, "wallet", wallet, map[string]any{
		"cash": amount("10.000000", "CNY"), "vouchers": amount("3.000000", "CNY"), "cards": amount("5.000000", "CNY"),
	})
}

func TestBadMoney(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	id := s.account("acme")
	path := "/api/v1/wallets/" + id + "/adjustments"
	for _, c := range []struct {
		path   string
		body   map[string]any
		status int
		code   string
	}{
		{path, map[string]any{"amount": map[string]any{"amount": 10, "currency": "CNY"}, "reason": "r"}, 400, "invalid_fields"},
		{path, map[string]any{"amount": amount("1e3", "CNY"), "reason": "r"}, 400, "invalid_fields"},
		{path, map[string]any{"amount": amount("0.0000001", "CNY"), "reason": "r"}, 400, "invalid_fields"},
		{path, map[string]any{"amount": amount("9999999999999", "CNY"), "reason": "r"}, 400, "invalid_fields"},
		{path, map[string]any{"amount": amount("1", "yuan"), "reason": "r"}, 400, "invalid_fields"},
		{path, map[string]any{"amount": amount("0", "CNY"), "reason": "r"}, 400, "invalid_amount"},
		{path, map[string]any{"amount": amount("1", "CNY"), "reason": ""}, 400, "invalid_fields"},
		{path, map[string]any{"amount": amount("-1", "CNY"), "reason": "r"}, 409, "insufficient_balance"},
		{"/api/v1/wallets/ba_none/adjustments", map[string]any{"amount": amount("1", "CNY"), "reason": "r"}, 404, "not_found"},
		{"/api/v1/vouchers", map[string]any{"billing_account_id": id, "amount": amount("1", "CNY"), "valid_until": "2000-01-01T00:00:00Z"}, 400, "invalid_fund"},
		{"/api/v1/vouchers", map[string]any{"billing_account_id": id, "amount": amount("-1", "CNY"), "valid_until": "2100-01-01T00:00:00Z"}, 400, "invalid_fund"},
	} {
		s.refuses(fmt.Sprintf("POST %s %v", c.path, c.body), s.call(s.admin, "POST", c.path, c.body), c.status, c.code)
	}
	if list := s.want(200, "GET", "/api/v1/ledger/transactions?billing_account_id="+id, nil).list(); len(list) != 0 {
		t.Errorf("bad requests made %v", list)
	}
}

func TestPriceBooks(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	yaml := "name: public\nzone: CN\ncurrency: CNY\neffective_from: 2026-01-01\nitems:\n  - {item: logs, unit: 1000, aggregation: sum, prices: [{price: 1.50}]}\n"
	got := s.call(s.admin, "POST", "/api/v1/price-books", yaml, "Content-Type", "application/yaml")
	if got.status != 201 || got.body["version"] != 1.0 {
		t.Fatalf("POST a book in YAML = %d %s, want 201", got.status, got.raw)
	}
	short := strings.Replace(publicBook, `"scale":6,`, "", 1)
	fields(t, "the next version", s.want(201, "POST", "/api/v1/price-books", short).body, map[string]any{"version": 2.0, "scale": 6.0})
	if list := s.want(200, "GET", "/api/v1/price-books", nil).list(); len(list) != 2 {
		t.Errorf("GET price-books = %d, want 2", len(list))
	}
	for _, c := range []struct{ from, to, field string }{
		{`"price":"1.5"`, `"price":1.5`, "items/0/prices/0/price"},
		{`"price":"1.5"`, `"price":"1,5"`, "items/0/prices/0/price"},
		{`,"price":"1.5"`, ``, "items/0/prices/0/price"},
		{`"unit":"1000000"`, `"unit":"0"`, "/items/0/unit"},
		{`"2026-01-01"`, `"2026-02-30"`, "effective_from"},
		{`"time_series"`, `"logs"`, "/items/1/item"},
		{`"scale":6`, `"scale":7`, "scale"},
	} {
		a := s.call(s.admin, "POST", "/api/v1/price-books", strings.Replace(publicBook, c.from, c.to, 1))
		if a.status != 400 || !strings.Contains(named(a), c.field) {
			t.Errorf("a book with %s = %d %s, want 400 that names %s", c.to, a.status, a.raw, c.field)
		}
	}
	s.refuses("a book in bad YAML", s.call(s.admin, "POST", "/api/v1/price-books", "a: [", "Content-Type", "application/yaml"), 400, "invalid_price_book")
	s.refuses("a book as text", s.call(s.admin, "POST", "/api/v1/price-books", yaml, "Content-Type", "text/plain"), 415, "unsupported_media_type")
}

// TestFilters: each filter finds what it names and nothing else.
func TestFilters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	acme := s.tenant("acme")
	s.tenant("other")
	for path, want := range map[string]int{
		"subscriptions?provider_subscription_id=subject-acme":                     1,
		"subscriptions?provider_subscription_id=nobody":                           0,
		"subscriptions?cloud_account_id=" + acme.cloudAccount:                     1,
		"subscriptions?status=active&listing=cloud-main":                          2,
		"subscriptions?status=ended":                                              0,
		"cloud-accounts?provider_account_id=buyer-acme":                           1,
		"cloud-accounts?provider=cloud&status=active&listing=cloud-main":          2,
		"cloud-accounts?provider=elsewhere":                                       0,
		"cloud-accounts?status=ended":                                             0,
		"cloud-accounts?billing_account_id=" + acme.account + "&status=active":    1,
		"workspaces?site=c1":                                                      2,
		"workspaces?site=any":                                                     0,
		"workspaces?status=active&billing_account_id=" + acme.account:             1,
		"workspaces?status=locked":                                                0,
		"bindings?billing_account_id=" + acme.account:                             1,
		"bindings?subscription_id=" + acme.subscription:                           0,
		"bindings?workspace_id=" + acme.workspace + "&subscription_id=x":          0,
		"callbacks?kind=activated&outcome=applied&verified=true":                  2,
		"callbacks?subscription_id=" + acme.subscription:                          1,
		"callbacks?kind=released":                                                 0,
		"callbacks?delivery_key=none":                                             0,
		"callbacks?verified=false":                                                0,
		"billing-accounts?user_name=ACME":                                         1,
		"billing-accounts?email=" + url.QueryEscape("acme@acme.example"):          1,
		"billing-accounts?user_name=acme&email=" + url.QueryEscape("x@y.example"): 0,
		"billing-accounts?user_name=" + url.QueryEscape("acme@acme.example"):      0,
		"metering-records?status=sealed&listing=cloud-main":                       0,
	} {
		if got := s.want(200, "GET", "/api/v1/"+path, nil).list(); len(got) != want {
			t.Errorf("GET %s = %d items, want %d", path, len(got), want)
		}
	}
	for _, path := range []string{
		"subscriptions?provider_subscription_id=subject-other", "cloud-accounts?provider_account_id=buyer-other",
		"workspaces?site=any", "billing-accounts?user_name=other",
	} {
		if got := s.call(acme.key, "GET", "/api/v1/"+path, nil); got.status != 200 || len(got.list()) != 0 {
			t.Errorf("GET %s by another account = %d %s, want nothing", path, got.status, got.raw)
		}
	}
	if got := s.call(acme.key, "GET", "/api/v1/bindings?billing_account_id="+acme.account, nil); len(got.list()) != 1 {
		t.Errorf("GET bindings of an account by itself = %s, want its one", got.raw)
	}
}
