package api_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// fields compares some fields of an object; nil stands for an absent one.
func fields(t *testing.T, what string, got, want map[string]any) {
	t.Helper()
	picked := map[string]any{}
	for name := range want {
		picked[name] = got[name]
	}
	if diff := cmp.Diff(want, picked); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// isNull reports whether a field is there and null.
func isNull(object map[string]any, field string) bool {
	v, ok := object[field]
	return ok && v == nil
}

func TestBillingAccounts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := s.want(201, "POST", "/api/v1/billing-accounts", map[string]any{
		"user_name": "acme", "email": "ops@acme.example", "phone": "+8613800000000", "currency": "CNY",
	})
	fields(t, "created", a.body, map[string]any{
		"user_name": "acme", "email": "ops@acme.example", "phone": "+8613800000000", "currency": "CNY",
		"arbitrary_settlement": false, "certification": nil,
	})
	path := "/api/v1/billing-accounts/" + a.text("id")
	if got := s.want(200, "GET", path, nil); got.raw != a.raw {
		t.Errorf("GET = %s, want what POST answered: %s", got.raw, a.raw)
	}
	for range 2 {
		a = s.want(200, "PATCH", path, map[string]any{"arbitrary_settlement": true})
		fields(t, "changed", a.body, map[string]any{"arbitrary_settlement": true, "user_name": "acme"})
	}
	if list := s.want(200, "GET", "/api/v1/billing-accounts", nil).list(); len(list) != 1 {
		t.Errorf("GET billing-accounts = %d items, want 1", len(list))
	}
	for field, body := range map[string]map[string]any{
		"user_name_taken": {"user_name": "ACME", "email": "b@acme.example", "currency": "CNY"},
		"email_taken":     {"user_name": "acme2", "email": "OPS@acme.example", "currency": "CNY"},
		"phone_taken":     {"user_name": "acme3", "email": "c@acme.example", "phone": "+8613800000000", "currency": "CNY"},
	} {
		s.refuses("POST again", s.call(s.admin, "POST", "/api/v1/billing-accounts", body), 409, field)
	}
}

func TestCloudAccountsAndSubscriptions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sub, _ := s.buy("s-1", "007")
	path := "/api/v1/cloud-accounts/" + string(sub.Account)
	a := s.want(200, "GET", path, nil)
	fields(t, "cloud account", a.body, map[string]any{
		"provider": "cloud", "listing": "cloud-main", "provider_account_id": "007", "status": "active",
		"subscriptions": []any{string(sub.ID)}, "workspaces": []any{}, "name": nil,
	})
	if !isNull(a.body, "billing_account_id") {
		t.Errorf("unclaimed: %s, want billing_account_id null", a.raw)
	}
	b := s.want(200, "GET", "/api/v1/subscriptions/"+string(sub.ID), nil)
	fields(t, "subscription", b.body, map[string]any{
		"listing": "cloud-main", "provider_subscription_id": "s-1", "cloud_account_id": string(sub.Account),
		"status": "active", "sku": "basic", "quantity": 3.0, "trial": false, "expires_at": "2030-01-02T03:04:05Z",
	})
	if list := s.want(200, "GET", "/api/v1/subscriptions?listing=cloud-main", nil).list(); len(list) != 1 {
		t.Errorf("GET subscriptions of the listing = %d items, want 1", len(list))
	}
	if list := s.want(200, "GET", "/api/v1/subscriptions?listing=other", nil).list(); len(list) != 0 {
		t.Errorf("GET subscriptions of another listing = %d items, want 0", len(list))
	}
	owner, other := s.account("acme"), s.account("other")
	for range 2 {
		a = s.want(200, "POST", path+"/claim", map[string]any{"billing_account_id": owner})
		fields(t, "claimed", a.body, map[string]any{"billing_account_id": owner})
	}
	s.refuses("claim for another",
		s.call(s.admin, "POST", path+"/claim", map[string]any{"billing_account_id": other}), 409, "claimed_by_another")
	s.refuses("claim for nobody",
		s.call(s.admin, "POST", path+"/claim", map[string]any{"billing_account_id": "ba_none"}), 404, "not_found")
	for of, want := range map[string]int{owner: 1, other: 0} {
		if list := s.want(200, "GET", "/api/v1/cloud-accounts?billing_account_id="+of, nil).list(); len(list) != want {
			t.Errorf("GET cloud-accounts of %s = %d items, want %d", of, len(list), want)
		}
	}
}

// TestSubscriptionWithoutTermOrSubject: what an older protocol does not state.
func TestSubscriptionWithoutTermOrSubject(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	out := s.tell(marketplace.Event{
		Kind: marketplace.Activated, Also: []string{"customer:abc:1"}, Account: "b-1",
	}, nil)
	a := s.want(200, "GET", "/api/v1/subscriptions/"+string(out.Subscription.ID), nil)
	fields(t, "subscription", a.body, map[string]any{
		"provider_subscription_id": "abc:1", "sku": "", "quantity": 0.0, "replaces_id": nil,
	})
	if !isNull(a.body, "expires_at") {
		t.Errorf("no term: %s, want expires_at null", a.raw)
	}
}

func TestWorkspacesAndBindings(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	ws := s.want(201, "POST", "/api/v1/workspaces", map[string]any{
		"name": "prod", "site": "c1", "owner_email": "dev@acme.example",
	})
	fields(t, "unbound", ws.body, map[string]any{
		"name": "prod", "site": "c1", "owner_email": "dev@acme.example", "status": "active",
		"settlement": nil, "billing_account_id": nil, "locked_at": nil, "buffer_ends_at": nil, "opened_by": nil,
	})
	b := s.want(201, "POST", "/api/v1/bindings", binding(ws.text("id"), n.account, n.subscription))
	settlement := map[string]any{"method": "cloud_account", "subscription_id": n.subscription}
	fields(t, "binding", b.body, map[string]any{
		"workspace_id": ws.text("id"), "billing_account_id": n.account, "settlement": settlement, "cause": "chosen", "to": nil,
	})
	got := s.want(200, "GET", "/api/v1/workspaces/"+ws.text("id"), nil)
	fields(t, "bound", got.body, map[string]any{"settlement": settlement, "billing_account_id": n.account})
	fields(t, "cloud account", s.want(200, "GET", "/api/v1/cloud-accounts/"+n.cloudAccount, nil).body,
		map[string]any{"workspaces": []any{ws.text("id")}})
	if list := s.want(200, "GET", "/api/v1/workspaces?billing_account_id="+n.account, nil).list(); len(list) != 2 {
		t.Errorf("GET workspaces of the account = %d items, want 2", len(list))
	}
	history := s.want(200, "GET", "/api/v1/bindings?workspace_id="+ws.text("id"), nil)
	if list := history.list(); len(list) != 1 || list[0]["id"] != b.text("id") {
		t.Errorf("GET bindings of the workspace = %s, want the one", history.raw)
	}
	if list := s.want(200, "GET", "/api/v1/bindings", nil).list(); len(list) != 2 {
		t.Errorf("GET bindings = %d items, want 2", len(list))
	}
	s.refuses("the same binding again",
		s.call(s.admin, "POST", "/api/v1/bindings", binding(ws.text("id"), n.account, n.subscription)), 409, "already_bound")
}

// TestLockedWorkspace: a frozen subscription locks, and the answer says until when.
func TestLockedWorkspace(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	ws := s.workspace("prod")
	s.want(201, "POST", "/api/v1/bindings", binding(ws, n.account, n.subscription))
	s.tell(marketplace.Event{Kind: marketplace.Suspended, Subject: "subject-acme", Rank: "1"}, nil)
	got := s.want(200, "GET", "/api/v1/workspaces/"+ws, nil)
	fields(t, "locked", got.body, map[string]any{"status": "locked"})
	if got.text("locked_at") == "" || got.text("buffer_ends_at") <= got.text("locked_at") {
		t.Errorf("locked: %s, want locked_at and a later buffer_ends_at", got.raw)
	}
	fields(t, "cloud account", s.want(200, "GET", "/api/v1/cloud-accounts/"+n.cloudAccount, nil).body,
		map[string]any{"status": "frozen"})
}

func TestCallbacks(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sub, id := s.buy("s-1", "b-1")
	path := "/api/v1/callbacks/" + string(id)
	one := s.want(200, "GET", path, nil)
	fields(t, "callback", one.body, map[string]any{
		"listing": "cloud-main", "kind": "activated", "action": "act:activated", "verified": true, "outcome": "applied",
		"attempts": 1.0, "subscription_id": string(sub.ID), "delivery_key": "", "reason": "",
		"request": map[string]any{
			"method": "POST", "endpoint": "", "raw_query": "a=b", "body": `{"order":"1"}`, "body_encoding": "utf-8",
		},
	})
	list := s.want(200, "GET", "/api/v1/callbacks?listing=cloud-main", nil).list()
	if len(list) != 1 || list[0]["id"] != string(id) || list[0]["request"] != nil {
		t.Errorf("GET callbacks = %v, want the one without its request", list)
	}
	for range 2 {
		fields(t, "replay", s.want(200, "POST", path+"/replay", nil).body, map[string]any{
			"outcome": "duplicate", "effects": []any{}, "note": "no effect (already applied)",
		})
	}
	s.refuses("replay of nothing", s.call(s.admin, "POST", "/api/v1/callbacks/cb_none/replay", "{}"), 404, "not_found")
	binary := s.tell(marketplace.Event{Kind: marketplace.Noted}, []byte("\xff\x00"))
	request, _ := s.want(200, "GET", "/api/v1/callbacks/"+string(binary.Callback), nil).body["request"].(map[string]any)
	fields(t, "binary body", request, map[string]any{
		"body": base64.StdEncoding.EncodeToString([]byte("\xff\x00")), "body_encoding": "base64",
	})
}

// refuser turns every callback away.
type refuser struct{}

func (refuser) Receive(context.Context, core.Callback) (marketplace.Event, error) {
	return marketplace.Event{}, core.ErrUnverified
}

func (refuser) Reply(core.Callback, marketplace.Event, core.Outcome, error) core.Reply {
	return core.Reply{Status: http.StatusForbidden}
}

func TestRejectedCallbacks(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 3 {
		m := core.Marketplace{Listing: s.cloud.Listing, Adapter: refuser{}}
		listing := marketplace.ListingID(fmt.Sprintf("forged-%d", i%2))
		_, _ = s.svc.Callback(t.Context(), m, core.Callback{Listing: listing, Method: "POST", Body: []byte("secret")})
	}
	first := s.want(200, "GET", "/api/v1/callbacks?rejected=true&limit=2", nil)
	if len(first.list()) != 2 || first.text("next_cursor") == "" || strings.Contains(first.raw, "secret") {
		t.Fatalf("GET rejected = %s, want 2 and a cursor", first.raw)
	}
	rest := s.want(200, "GET", "/api/v1/callbacks?rejected=true&cursor="+first.text("next_cursor"), nil)
	if len(rest.list()) != 1 || rest.text("next_cursor") != "" {
		t.Errorf("GET the next page = %s, want 1 and no cursor", rest.raw)
	}
	if list := s.want(200, "GET", "/api/v1/callbacks?rejected=true&listing=forged-0", nil).list(); len(list) != 2 {
		t.Errorf("GET rejected of one listing = %v, want 2", list)
	}
	id := fmt.Sprint(rest.list()[0]["id"])
	fields(t, "rejected", s.want(200, "GET", "/api/v1/callbacks/"+id, nil).body, map[string]any{
		"verified": false, "outcome": "refused", "kind": "",
	})
	s.refuses("replay", s.call(s.admin, "POST", "/api/v1/callbacks/"+id+"/replay", nil), 409, "not_replayable")
	if list := s.want(200, "GET", "/api/v1/callbacks", nil).list(); len(list) != 0 {
		t.Errorf("GET callbacks = %v, want none: all were refused", list)
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	k := s.want(201, "POST", "/api/v1/api-keys", map[string]any{"name": "ci", "role": "readonly"})
	secret := k.text("secret")
	if secret == "" || !strings.HasSuffix(secret, k.text("hint")) {
		t.Fatalf("POST api-keys = %s, want a secret and its end as hint", k.raw)
	}
	who := s.call(secret, "GET", "/api/v1/whoami", nil)
	fields(t, "whoami", who.body, map[string]any{"name": "key:" + k.text("id"), "role": "readonly", "billing_account_id": nil})
	list := s.want(200, "GET", "/api/v1/api-keys", nil)
	if len(list.list()) != 2 || strings.Contains(list.raw, secret) || strings.Contains(list.raw, core.Digest(secret)) {
		t.Errorf("GET api-keys = %s, want 2 keys without secrets", list.raw)
	}
	for range 2 {
		if a := s.want(200, "POST", "/api/v1/api-keys/"+k.text("id")+"/revoke", nil); a.text("revoked_at") == "" {
			t.Errorf("revoke = %s, want revoked_at", a.raw)
		}
	}
	s.refuses("a revoked key", s.call(secret, "GET", "/api/v1/whoami", nil), 401, "unauthorized")
	s.refuses("revoke nothing", s.call(s.admin, "POST", "/api/v1/api-keys/key_none/revoke", nil), 404, "not_found")
	for _, body := range []map[string]any{
		{"name": "x", "role": "account"},
		{"name": "x", "role": "operator", "billing_account_id": s.account("acme")},
	} {
		s.refuses("a role that does not fit", s.call(s.admin, "POST", "/api/v1/api-keys", body), 400, "invalid_role")
	}
	s.refuses("a key for nobody", s.call(s.admin, "POST", "/api/v1/api-keys",
		map[string]any{"name": "x", "role": "account", "billing_account_id": "ba_none"}), 404, "not_found")
}

func TestConfigured(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	sites := s.want(200, "GET", "/api/v1/sites", nil).list()
	if diff := cmp.Diff([]map[string]any{
		{"code": "c1", "cloud": "cloud", "time_zone": "UTC"}, {"code": "any", "time_zone": "UTC"},
	}, sites); diff != "" {
		t.Errorf("GET sites (-want +got):\n%s", diff)
	}
	listings := s.want(200, "GET", "/api/v1/listings", nil).list()
	if diff := cmp.Diff([]map[string]any{
		{"id": "cloud-main", "provider": "cloud", "currency": "CNY", "on_release": "lock"},
	}, listings); diff != "" {
		t.Errorf("GET listings (-want +got):\n%s", diff)
	}
}

func TestDescriptionAndDocs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	yaml := s.call("", "GET", "/api/openapi.yaml", nil)
	if yaml.status != 200 || !strings.HasPrefix(yaml.raw, "openapi: 3.") {
		t.Errorf("GET openapi.yaml = %d %.40q, want the description", yaml.status, yaml.raw)
	}
	docs := s.call("", "GET", "/api/docs", nil)
	if docs.status != 200 || strings.Contains(docs.raw, "<script") || strings.Contains(docs.raw, "https://") {
		t.Errorf("GET docs = %d, want a page that needs nothing else", docs.status)
	}
	for _, item := range specification(t).Paths.Map() {
		for _, op := range item.Operations() {
			if !strings.Contains(docs.raw, `id="`+op.OperationID+`"`) {
				t.Errorf("GET docs lacks %s", op.OperationID)
			}
		}
	}
}
