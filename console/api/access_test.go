package api_test

import (
	"sort"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"cloudsettle/core"
)

// access says who may use an operation: o operator, f finance, r readonly,
// w workspace, a an account on its own things. It is written down a second
// time here, from what the roles are for, so that a slip in the table shows.
func access() map[string]string {
	return map[string]string{
		"whoami": "ofrwa", "listSites": "ofrwa", "listListings": "ofra",
		"listBillingAccounts": "ofra", "getBillingAccount": "ofra",
		"listCloudAccounts": "ofra", "getCloudAccount": "ofra",
		"listSubscriptions": "ofra", "getSubscription": "ofra",
		"listWorkspaces": "ofrwa", "getWorkspace": "ofrwa",
		"listBindings": "ofra", "createBinding": "oa",
		"listUsage": "ofrwa", "listUsageDays": "ofr", "reportUsage": "ow",
		"listPriceBooks": "ofr", "getPriceBook": "ofr", "createPriceBook": "of",
		"listDailyBills": "ofra", "listBills": "ofra", "getBill": "ofra", "exportBill": "ofra",
		"exportBills": "ofra", "getCloudAccountBill": "ofra",
		"createCreditNote": "of", "listCreditNotes": "ofra", "getCreditNote": "ofra",
		"listLedgerTransactions": "ofra", "getWallet": "ofra", "adjustWallet": "of",
		"listVouchers": "ofra", "createVoucher": "of", "listPrepaidCards": "ofra", "createPrepaidCard": "of",
		"listSettlementRuns": "ofr", "getSettlementRun": "ofr", "startSettlementRun": "of", "previewSettlementRun": "ofr",
		"listMeteringRecords": "ofra", "flushMetering": "o", "verify": "ofr",
		"resolveMeteringRecord": "of", "listMeteringHealth": "ofr",
		"getSubscriptionMetering": "ofra", "retrySubscriptionMetering": "of",
		"listCallbacks": "ofr", "getCallback": "ofr", "replayCallback": "o",
		"listApiKeys": "o", "createApiKey": "o", "revokeApiKey": "o",
		"createBillingAccount": "o", "updateBillingAccount": "o", "claimCloudAccount": "o", "createWorkspace": "o",
	}
}

// sample is a request of one operation that names only things of one tenant.
type sample struct {
	id, method, path string
	body             any
	bill             string // the tenant's
}

// samples makes one request for each operation of the description.
func samples(t *testing.T, spec *openapi3.T, n tenant, callback, bill, note string) []sample {
	t.Helper()
	fund := map[string]any{
		"billing_account_id": n.account, "amount": amount("1.5", "CNY"), "valid_until": "2100-01-01T00:00:00Z",
	}
	queries := map[string]string{
		"listBindings":           "?workspace_id=" + n.workspace,
		"listUsage":              "?workspace_id=" + n.workspace + "&day=2026-11-20",
		"listUsageDays":          "?day=2026-11-20",
		"listDailyBills":         "?workspace_id=" + n.workspace + "&day=2026-11-20",
		"listLedgerTransactions": "?billing_account_id=" + n.account,
		"listVouchers":           "?billing_account_id=" + n.account,
		"listPrepaidCards":       "?billing_account_id=" + n.account,
		"listMeteringRecords":    "?subscription_id=" + n.subscription,
		"getCloudAccountBill":    "?month=2026-11",
		"exportBills":            "?of=bills&from=2026-11-01&to=2026-12-01&billing_account_id=" + n.account,
	}
	ids := map[string]string{
		"billing-accounts": n.account, "cloud-accounts": n.cloudAccount, "subscriptions": n.subscription,
		"workspaces": n.workspace, "callbacks": callback, "api-keys": "key_none",
		"credit-notes": note, "bills": bill, "wallets": n.account, "price-books": "pb_none", "settlement-runs": "run_none",
		"metering-records": "mr_none",
	}
	bodies := map[string]any{
		"createBillingAccount":  map[string]any{"user_name": "x", "email": "x", "currency": "x"}, // 400: changes nothing
		"updateBillingAccount":  map[string]any{"arbitrary_settlement": false},
		"claimCloudAccount":     map[string]any{"billing_account_id": n.account},
		"createWorkspace":       map[string]any{"name": "", "site": "", "owner_email": ""},
		"createBinding":         binding(n.workspace, n.account, ""), // 409: already bound
		"createApiKey":          map[string]any{"name": "x", "role": "account"},
		"reportUsage":           []any{},
		"createPriceBook":       map[string]any{},
		"adjustWallet":          map[string]any{"amount": amount("1", "CNY"), "reason": "test"},
		"createVoucher":         fund,
		"createCreditNote":      map[string]any{"amount": amount("0.01", "CNY"), "reason": "test"},
		"createPrepaidCard":     fund,
		"startSettlementRun":    map[string]any{"kind": "daily", "period": "today"},
		"resolveMeteringRecord": map[string]any{"outcome": "accepted", "reason": "test"},
		"previewSettlementRun":  map[string]any{"kind": "daily", "period": "today"},
	}
	var out []sample
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			resource := strings.Split(path, "/")[3]
			p := strings.Replace(path, "{id}", ids[resource], 1) + queries[op.OperationID]
			out = append(out, sample{op.OperationID, method, p, bodies[op.OperationID], bill})
			if op.RequestBody != nil && bodies[op.OperationID] == nil {
				t.Errorf("no sample body for %s", op.OperationID)
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

// TestAccess asks for every operation with every kind of key.
func TestAccess(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	acme, other := s.tenant("acme"), s.tenant("other")
	_, callback := s.buy("s-9", "b-9")
	bill := s.billed(acme)
	keys := map[string]string{
		"o": s.admin, "f": s.key("finance", ""), "r": s.key("readonly", ""), "w": s.key("workspace", ""), "a": acme.key,
	}
	table := access()
	note := s.want(201, "POST", "/api/v1/bills/"+bill+"/credit-notes",
		map[string]any{"amount": amount("0.01", "CNY"), "reason": "test"}).text("id")
	for _, r := range samples(t, specification(t), acme, string(callback), bill, note) {
		allowed, ok := table[r.id]
		if !ok {
			t.Errorf("%s is not in the table", r.id)
		}
		delete(table, r.id)
		for role, key := range keys {
			got := s.call(key, r.method, r.path, r.body)
			switch {
			case !strings.Contains(allowed, role):
				s.refuses(r.id+" by "+role, got, 403, "forbidden")
			case got.status == 401 || got.status == 403 || got.status >= 500:
				t.Errorf("%s by %s = %d %s, want it allowed", r.id, role, got.status, got.raw)
			case role == "a" && got.status == 404:
				t.Errorf("%s by its owner = %d %s, want it found", r.id, got.status, got.raw)
			}
		}
		s.refuses(r.id+" without a key", s.call("", r.method, r.path, r.body), 401, "unauthorized")
		s.foreign(r, other)
	}
	for id := range table {
		t.Errorf("%s is in the table and not in the description", id)
	}
}

// foreign asks for another account's thing: it must not exist.
func (s *server) foreign(r sample, stranger tenant) {
	s.t.Helper()
	if !strings.Contains(access()[r.id], "a") {
		return
	}
	got := s.call(stranger.key, r.method, r.path, r.body)
	if strings.HasPrefix(r.id, "get") || r.id == "createBinding" || r.id == "exportBill" || strings.Contains(r.path, "?") {
		s.refuses(r.id+" of another account", got, 404, "not_found")
		return
	}
	for _, id := range []string{"acme", "ws-acme", "subject-acme", "buyer-acme", r.bill} {
		if strings.Contains(got.raw, `"`+id+`"`) {
			s.t.Errorf("%s by another account = %s, which shows %q", r.id, got.raw, id)
		}
	}
}

// TestForeignThingsDoNotExist: the answer about another account's thing is the
// answer about no thing at all, and nothing changes.
func TestForeignThingsDoNotExist(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	acme, other := s.tenant("acme"), s.tenant("other")
	free := s.workspace("free")
	for what, body := range map[string]map[string]any{
		"for another account":          binding(other.workspace, acme.account, ""),
		"another account's workspace":  binding(acme.workspace, other.account, ""),
		"nobody's workspace":           binding(free, other.account, ""),
		"through another subscription": binding(other.workspace, other.account, acme.subscription),
		"for an account that is not":   binding(other.workspace, "ba_none", ""),
		"a workspace that is not":      binding("ws_none", other.account, ""),
		"through a subscription not":   binding(other.workspace, other.account, "sub_none"),
	} {
		s.refuses("bind "+what, s.call(other.key, "POST", "/api/v1/bindings", body), 404, "not_found")
	}
	for _, list := range []string{"cloud-accounts", "workspaces"} {
		path := "/api/v1/" + list + "?billing_account_id=" + acme.account
		s.refuses("list another account's "+list, s.call(other.key, "GET", path, nil), 404, "not_found")
	}
	s.refuses("bindings of no workspace", s.call(other.key, "GET", "/api/v1/bindings", nil), 400, "workspace_id_required")
	history := s.want(200, "GET", "/api/v1/bindings?workspace_id="+acme.workspace, nil).list()
	if len(history) != 1 || history[0]["id"] != acme.binding {
		t.Errorf("bindings of the other account's workspace = %v, want what it was", history)
	}
}

// TestAccountBindsItsOwn: what an account's key may change.
func TestAccountBindsItsOwn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	b := s.call(n.key, "POST", "/api/v1/bindings", binding(n.workspace, n.account, n.subscription))
	if b.status != 201 || b.text("workspace_id") != n.workspace {
		t.Fatalf("POST bindings by its owner = %d %s, want 201", b.status, b.raw)
	}
	history := s.call(n.key, "GET", "/api/v1/bindings?workspace_id="+n.workspace, nil).list()
	if len(history) != 2 || history[0]["to"] != b.body["from"] {
		t.Errorf("bindings = %v, want the first to end where the second begins", history)
	}
}

// TestKeysThatDoNotHold: every way to send no valid key is 401 and says how.
func TestKeysThatDoNotHold(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Basic " + bootstrap, bootstrap, "Bearer wrong", "Bearer " + bootstrap + "x",
		"Bearer " + core.Digest(bootstrap), "Bearer " + strings.Repeat("x", 4096),
	} {
		got := s.call("", "GET", "/api/v1/whoami", nil, "Authorization", header)
		s.refuses("Authorization: "+header, got, 401, "unauthorized")
		if got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("Authorization %.20q: no WWW-Authenticate", header)
		}
	}
	got := s.call("", "GET", "/api/v1/whoami", nil, "Authorization", "bearer  "+bootstrap)
	if got.status != 200 {
		t.Errorf("Authorization: bearer in lower case = %d, want 200", got.status)
	}
	if log := s.log.String(); strings.Contains(log, bootstrap) {
		t.Error("the log holds a key")
	}
}
