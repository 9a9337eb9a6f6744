package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// tableOf reads an answer in CSV as rows by the names of columns.
func (a answer) table(t *testing.T) []map[string]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(a.raw)).ReadAll()
	if err != nil || len(rows) == 0 || a.header.Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Fatalf("%d %v %q is not CSV: %v", a.status, a.header, a.raw, err)
	}
	out := []map[string]string{}
	for _, row := range rows[1:] {
		item := map[string]string{}
		for i, name := range rows[0] {
			item[name] = row[i]
		}
		out = append(out, item)
	}
	return out
}

// note is the body of a credit note.
func note(n string) map[string]any {
	return map[string]any{"amount": amount(n, "CNY"), "reason": "agreed by mail"}
}

// TestCreditNotes corrects a bill, which shows it and stays as it is.
func TestCreditNotes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	acme, other := s.tenant("acme"), s.tenant("other")
	bill := s.billed(acme) // 3 CNY, all of it owed
	path := "/api/v1/bills/" + bill
	before := s.want(200, "GET", path, nil)
	fields(t, "bill", before.body, map[string]any{
		"status": "issued", "net": amount("3.000000", "CNY"), "due": amount("3.000000", "CNY"), "credit_notes": []any{},
	})
	first := s.call(s.admin, "POST", path+"/credit-notes", note("1"), "Idempotency-Key", "k")
	again := s.call(s.admin, "POST", path+"/credit-notes", note("1"), "Idempotency-Key", "k")
	if first.status != 201 || again.raw != first.raw {
		t.Fatalf("POST twice = %d %s, %d %s, want one note", first.status, first.raw, again.status, again.raw)
	}
	fields(t, "note", first.body, map[string]any{
		"kind": "credit", "bill_id": bill, "billing_account_id": acme.account, "amount": amount("1.000000", "CNY"),
		"reason": "agreed by mail", "settlement": map[string]any{"method": "billing_account"},
		"arrears": amount("-1.000000", "CNY"), "deductions": []any{},
	})
	debit := note("0.5")
	debit["kind"] = "debit"
	s.want(201, "POST", path+"/credit-notes", debit)
	after := s.want(200, "GET", path, nil)
	fields(t, "bill", after.body, map[string]any{
		"status": "issued", "total": amount("3.000000", "CNY"), "net": amount("2.500000", "CNY"), "due": amount("2.500000", "CNY"),
	})
	for what, c := range map[string]struct {
		path   string
		body   map[string]any
		status int
		code   string
	}{
		"too much":        {path, note("2.500001"), 409, "exceeds_bill"},
		"below zero":      {path, note("-1"), 400, "invalid_amount"},
		"a wrong bill":    {"/api/v1/bills/mb_none", note("1"), 404, "not_found"},
		"no reason":       {path, map[string]any{"amount": amount("1", "CNY")}, 400, "invalid_fields"},
		"other money":     {path, map[string]any{"amount": amount("1", "USD"), "reason": "r"}, 400, "invalid_currency"},
		"half a way":      {path, map[string]any{"amount": amount("1", "CNY"), "reason": "r", "settlement": map[string]any{"method": "cloud_account"}}, 400, "invalid_settlement"},
		"another's cloud": {path, map[string]any{"amount": amount("1", "CNY"), "reason": "r", "settlement": map[string]any{"method": "cloud_account", "subscription_id": other.subscription}}, 409, "not_charged"},
	} {
		s.refuses(what, s.call(s.admin, "POST", c.path+"/credit-notes", c.body), c.status, c.code)
	}
	for query, want := range map[string]int{
		"": 2, "?billing_account_id=" + acme.account: 2, "?bill_id=" + bill: 2, "?bill_id=mb_x": 0, "?billing_account_id=" + other.account: 0,
	} {
		if list := s.want(200, "GET", "/api/v1/credit-notes"+query, nil).list(); len(list) != want {
			t.Errorf("GET credit-notes%s = %d, want %d", query, len(list), want)
		}
	}
	if got := s.want(200, "GET", "/api/v1/credit-notes/"+first.text("id"), nil); got.raw != first.raw {
		t.Errorf("GET the note = %s, want %s", got.raw, first.raw)
	}
	fields(t, "verify", s.want(200, "GET", "/api/v1/verify", nil).body, map[string]any{"ok": true})
}

// TestCloudAccountBill adds up what went through a cloud account this month.
func TestCloudAccountBill(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	s.call(n.key, "POST", "/api/v1/bindings", binding(n.workspace, n.account, n.subscription))
	s.billed(n)
	got := s.want(200, "GET", "/api/v1/cloud-accounts/"+n.cloudAccount+"/bills?month="+s.today()[:7], nil)
	sums, _ := got.body["currencies"].([]any)
	if len(sums) != 1 {
		t.Fatalf("GET bills of a cloud account = %s, want one currency", got.raw)
	}
	sum := sums[0].(map[string]any)
	fields(t, "sum", sum, map[string]any{"charged": amount("3.000000", "CNY"), "credit_notes": amount("0.000000", "CNY")})
	sub := sum["subscriptions"].([]any)[0].(map[string]any)
	fields(t, "subscription", sub, map[string]any{"subscription_id": n.subscription, "charged": amount("3.000000", "CNY")})
	fields(t, "metering", sub["metering"].(map[string]any), map[string]any{
		"units_accepted": 0.0, "units_in_flight": 0.0, "carry": amount("3.000000", "CNY"),
	})
	empty := s.want(200, "GET", "/api/v1/cloud-accounts/"+n.cloudAccount+"/bills?month=2020-01", nil)
	fields(t, "an empty month", empty.body["currencies"].([]any)[0].(map[string]any), map[string]any{"charged": amount("0.000000", "CNY")})
	s.refuses("month 13", s.call(s.admin, "GET", "/api/v1/cloud-accounts/"+n.cloudAccount+"/bills?month=2026-13", nil), 400, "invalid_fields")
}

// TestExports downloads a period in each form.
func TestExports(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	acme, other := s.tenant("acme"), s.tenant("other")
	bill := s.billed(acme)
	s.use(other.workspace, "time_series", "7d", s.hour(0), "10000")
	s.settle("daily", s.today())
	period := "&from=" + s.today()[:8] + "01&to=" + s.today()[:4] + "-12-31"
	for of, want := range map[string]struct {
		all, own int
		column   string
		value    string
	}{
		"bills":            {1, 1, "id", bill},
		"daily_bills":      {2, 1, "workspace_id", acme.workspace},
		"daily_bill_lines": {2, 1, "item", "logs"},
	} {
		path := "/api/v1/exports?of=" + of + period
		rows := s.want(200, "GET", path+"&format=csv", nil).table(t)
		if len(rows) != want.all {
			t.Errorf("%s = %v, want %d rows", of, rows, want.all)
		}
		own := s.call(acme.key, "GET", path, nil, "Accept", "text/csv").table(t)
		if len(own) != want.own || own[0][want.column] != want.value {
			t.Errorf("%s of its own account = %v, want %d with %s %s", of, own, want.own, want.column, want.value)
		}
		list := s.want(200, "GET", path+"&billing_account_id="+acme.account, nil).list()
		if len(list) != want.own || fmt.Sprint(list[0][want.column]) != want.value {
			t.Errorf("%s as JSON = %v, want %d with %s %s", of, list, want.own, want.column, want.value)
		}
	}
	if none := s.want(200, "GET", "/api/v1/exports?of=bills&from=2020-01-01&to=2020-02-01", nil); len(none.list()) != 0 || none.raw != "{\"data\":[],\"next_cursor\":\"\"}\n" {
		t.Errorf("an empty export = %q", none.raw)
	}
	s.refuses("too long a period", s.call(s.admin, "GET", "/api/v1/exports?of=bills&from=2020-01-01&to=2021-01-02", nil), 400, "invalid_fields")
	s.refuses("another's account", s.call(acme.key, "GET", "/api/v1/exports?of=bills"+period+"&billing_account_id="+other.account, nil), 404, "not_found")
}

// TestListsAreCSV asks every list for CSV: the items are those of the JSON.
func TestListsAreCSV(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	acme := s.tenant("acme")
	_, callback := s.buy("s-9", "b-9")
	bill := s.billed(acme)
	s.want(201, "POST", "/api/v1/bills/"+bill+"/credit-notes", note("1"))
	lists := 0
	spec := specification(t)
	for _, r := range samples(t, spec, acme, string(callback), bill, "") {
		if !isList(spec, r.id) {
			continue
		}
		lists++
		plain := s.want(200, "GET", r.path, nil)
		for what, got := range map[string]answer{
			"format=csv": s.want(200, "GET", r.path+joint(r.path)+"format=csv", nil),
			"Accept":     s.call(s.admin, "GET", r.path, nil, "Accept", "application/json;q=0.5, text/csv"),
		} {
			rows := got.table(t)
			if len(rows) != len(plain.list()) {
				t.Errorf("%s by %s = %d rows, want %d", r.id, what, len(rows), len(plain.list()))
			}
			for i, item := range plain.list() {
				sameItem(t, r.id, rows[i], "", item)
			}
		}
		if got := s.call(s.admin, "GET", r.path+joint(r.path)+"format=json", nil, "Accept", "text/csv"); got.body == nil {
			t.Errorf("%s: the parameter does not come before Accept: %s", r.id, got.raw)
		}
	}
	if lists < 18 {
		t.Errorf("%d lists answer as CSV, want all", lists)
	}
	s.refuses("a list as XML", s.call(s.admin, "GET", "/api/v1/bills?format=xml", nil), 400, "invalid_fields")
	s.refuses("a problem", s.call(s.admin, "GET", "/api/v1/bills?billing_account_id=ba_1&month=2026-13&format=csv", nil), 400, "invalid_fields")
}

func joint(path string) string {
	if strings.Contains(path, "?") {
		return "&"
	}
	return "?"
}

func isList(spec *openapi3.T, id string) bool {
	for _, item := range spec.Paths.Map() {
		if op := item.Get; op != nil && op.OperationID == id {
			schema := op.Responses.Status(http.StatusOK).Value.Content["application/json"].Schema
			return schema != nil && schema.Value.Properties["data"] != nil && id != "exportBills"
		}
	}
	return false
}

// sameItem compares the leaves of an item with the cells of a row.
func sameItem(t *testing.T, what string, row map[string]string, at string, item map[string]any) {
	t.Helper()
	for name, v := range item {
		if fields, ok := v.(map[string]any); ok {
			sameItem(t, what, row, at+name+".", fields)
			continue
		}
		got, known := row[at+name]
		want := fmt.Sprint(v)
		switch list, isList := v.([]any); {
		case v == nil, isList && len(list) == 0:
			want = ""
		case isList:
			if _, text := list[0].(string); text {
				want = strings.Trim(fmt.Sprint(v), "[]")
			} else if raw, err := json.Marshal(v); err == nil {
				want, got = string(raw), normalized(got)
			}
		}
		if !known || got != want && got != "'"+want {
			t.Errorf("%s: column %s = %q, want %q", what, at+name, got, want)
		}
	}
}

// normalized is JSON with its fields in order.
func normalized(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	raw, _ := json.Marshal(v)
	return string(raw)
}

// TestCSVPages: a page names the next one, and formulas are disarmed.
func TestCSVPages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 3 {
		s.want(201, "POST", "/api/v1/workspaces", map[string]any{
			"name": fmt.Sprintf("=%d+cmd|' /C calc'!A0", i), "site": "c1", "owner_email": "dev@example.com",
		})
	}
	seen := 0
	for path := "/api/v1/workspaces?limit=2&format=csv"; path != ""; {
		page := s.want(200, "GET", path, nil)
		for _, row := range page.table(t) {
			seen++
			if !strings.HasPrefix(row["name"], "'=") {
				t.Errorf("name = %q, want it disarmed", row["name"])
			}
		}
		link := page.header.Get("Link")
		path, _, _ = strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if link != "" && !strings.HasSuffix(link, `; rel="next"`) {
			t.Errorf("Link = %q", link)
		}
	}
	if seen != 3 {
		t.Errorf("the pages have %d rows, want 3", seen)
	}
}
