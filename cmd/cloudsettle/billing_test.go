package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/core/pricing/example"
)

// background lets the service do what was promised until the test ends.
func (x *terminal) background() {
	x.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { x.svc.Run(ctx) })
	x.t.Cleanup(func() { stop(); wg.Wait() })
}

// fileWith writes a file to import.
func fileWith(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// says runs a command that must end with a code and print some words.
func (x *terminal) says(code int, words []string, args ...string) {
	x.t.Helper()
	got, stdout, stderr := x.run(args...)
	if got != code {
		x.t.Errorf("%v = %d, want %d: %s%s", args, got, code, stdout, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stdout+stderr, word) {
			x.t.Errorf("%v says %s%s, want %q in it", args, stdout, stderr, word)
		}
	}
}

// TestBillingCommands walks from a price list to a verified monthly bill.
func TestBillingCommands(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.background()
	book, err := example.File("cn-cny.yaml")
	if err != nil {
		t.Fatal(err)
	}
	x.says(exitOK, []string{"CN", "CNY", "2024-01-01"}, "pricebook", "import", fileWith(t, "cn.yaml", string(book)))
	var books []map[string]any
	_, stdout, _ := x.run("-o", "json", "pricebook", "list")
	if err := json.Unmarshal([]byte(stdout), &books); err != nil || len(books) != 1 {
		t.Fatalf("pricebook list = %s, %v, want one", stdout, err)
	}
	x.says(exitOK, []string{"time_series", "360d", "0.6"}, "pricebook", "show", fmt.Sprint(books[0]["id"]))
	account := fmt.Sprint(x.json("billing-accounts", "create", "acme", "--email", "ops@acme.example", "--currency", "CNY")["id"])
	ws := fmt.Sprint(x.json("workspaces", "create", "prod", "--site", "c1", "--owner-email", "dev@acme.example")["id"])
	x.json("bindings", "create", ws, account)
	hour := time.Now().UTC().Truncate(time.Hour)
	day, at := hour.Format(time.DateOnly), hour.Format(time.RFC3339)
	x.importUsage(ws, at)
	x.says(exitOK, []string{"1 bills", "3.000000 CNY", "open"}, "settle", "daily", day, "--early", "--dry-run")
	x.says(exitFailed, []string{"409 period_not_over"}, "settle", "daily", day)
	x.says(exitOK, []string{"done", "BILLS", "1"}, "settle", "daily", day, "--early")
	x.says(exitOK, []string{ws, "sealed", "3.000000 CNY"}, "bills", "list", "--workspace", ws, "--day", day)
	x.says(exitOK, []string{"1 bills", "3.000000 CNY"}, "settle", "monthly", day[:7], "--early", "--dry-run")
	x.says(exitOK, []string{"done"}, "settle", "monthly", day[:7], "--early")
	bill := "mb_" + day[:7] + "_" + account + "_CNY"
	x.says(exitOK, []string{bill, "issued"}, "bills", "list", "--month", day[:7])
	x.says(exitOK, []string{bill, ws, "3.000000"}, "bills", "show", bill)
	x.says(exitOK, []string{"day,workspace_id", "logs,14d,2000000"}, "-o", "csv", "bills", "export", bill)
	x.says(exitOK, []string{`"daily_bills":[{`}, "bills", "export", bill)
	x.says(exitFailed, []string{"404"}, "bills", "export", "mb_none")
	x.corrects(bill, account, ws, day)
	x.says(exitOK, []string{"PENDING", "0"}, "meter", "flush")
	x.says(exitOK, []string{"DEADLINE"}, "meter", "status", "--status", "sealed")
	x.says(exitFailed, []string{"400"}, "meter", "status", "--status", "odd")
	x.says(exitOK, []string{"HEALTH"}, "meter", "health", "--health", "silent")
	x.says(exitFailed, []string{"400"}, "meter", "health", "--health", "odd")
	x.says(exitFailed, []string{"404"}, "meter", "health", "sub_none")
	x.says(exitFailed, []string{"404"}, "meter", "resolve", "mr_none", "not-accepted", "--reason", "it is not in the books")
	x.says(exitUsage, []string{"not-accepted"}, "meter", "resolve", "mr_none", "maybe", "--reason", "who knows")
	x.says(exitUsage, []string{"--reason"}, "meter", "resolve", "mr_none", "accepted")
	x.says(exitFailed, []string{"sub_none", "404"}, "meter", "retry", "sub_none")
	x.says(exitOK, []string{"daily_bills", "ledger"}, "verify")
}

// corrects gives back some of a bill of 3 CNY that is owed, and exports it all.
func (x *terminal) corrects(bill, account, ws, day string) {
	x.t.Helper()
	daily := "db_" + day + "_" + ws
	x.says(exitOK, []string{"cn_", "credit", "1.000000 CNY", "-1.000000", "agreed"}, "bills", "credit", bill, "1", "--reason", "agreed")
	x.says(exitOK, []string{"debit", "0.500000 CNY"}, "bills", "credit", daily, "0.5", "--currency", "CNY", "--debit", "--reason", "r", "--wallet")
	x.says(exitFailed, []string{"--currency"}, "bills", "credit", daily, "1", "--reason", "r")
	x.says(exitFailed, []string{"409 exceeds_bill"}, "bills", "credit", bill, "2.51", "--reason", "r")
	x.says(exitFailed, []string{"409 not_charged"}, "bills", "credit", bill, "1", "--reason", "r", "--subscription", "sub_x")
	x.says(exitUsage, []string{"--reason"}, "bills", "credit", bill, "1")
	x.says(exitOK, []string{"2.500000", "agreed", "debit"}, "bills", "show", bill)
	x.says(exitOK, []string{"agreed"}, "bills", "notes", "--billing-account", account)
	x.says(exitOK, []string{"KIND,AMOUNT"}, "-o", "csv", "bills", "notes", "--bill", daily)
	month := day[:7]
	x.says(exitOK, []string{"variant,quantity", "logs,14d,2000000"}, "-o", "csv", "bills", "export", "--month", month)
	x.says(exitOK, []string{`"day":"` + day}, "bills", "export", "--from", day, "--to", dayAfter(x.t, day), "--of", "daily", "--billing-account", account)
	x.says(exitOK, []string{bill, "total.amount"}, "-o", "csv", "bills", "export", "--month", month, "--of", "monthly")
	x.says(exitFailed, []string{"--from and --to"}, "bills", "export")
	x.says(exitFailed, []string{"2026-10"}, "bills", "export", "--month", "x")
	x.says(exitFailed, []string{"404"}, "bills", "cloud-account", "ca_none", month)
}

func dayAfter(t *testing.T, day string) string {
	t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		t.Fatal(err)
	}
	return at.AddDate(0, 0, 1).Format(time.DateOnly)
}

// importUsage reports one quantity from each kind of file, and then with
// others that are wrong.
func (x *terminal) importUsage(ws, at string) {
	x.t.Helper()
	record := fmt.Sprintf(`{"workspace_id":%q,"item":"logs","variant":"14d","hour":%q,"quantity":"2000000"}`, ws, at)
	for i, c := range []struct{ name, text string }{
		{"u.json", "[\n" + record + "]"}, {"u.ndjson", record + "\n"},
		{"u.csv", "workspace_id,item,variant,hour,quantity\n" + ws + ",logs,14d," + at + ",2000000\n"},
	} {
		want := map[string]any{"accepted": 1.0, "duplicate": 0.0}
		if i > 0 {
			want = map[string]any{"accepted": 0.0, "duplicate": 1.0}
		}
		got := x.json("usage", "import", fileWith(x.t, c.name, c.text))
		for field := range want {
			if got[field] != want[field] {
				x.t.Errorf("usage import %s: %s = %v, want %v", c.name, field, got[field], want[field])
			}
		}
	}
	wrong := strings.Replace(record, "logs", "nothing", 1)
	x.says(exitFailed, []string{"1 records were rejected", "record 1: unknown_item"}, "usage", "import", fileWith(x.t, "w.ndjson", record+"\n"+wrong))
	x.says(exitOK, []string{ws, "logs", "14d", "2000000"}, "usage", "list", at[:10], "--item", "logs")
	x.says(exitOK, []string{ws, "2000000"}, "usage", "list", at[:10], "--workspace", ws)
	if code, out, _ := x.run("-o", "csv", "usage", "list", at[:10], "--item", "other"); code != exitOK || strings.Contains(out, ws) {
		x.t.Errorf("usage list of another item = %d %s", code, out)
	}
	x.says(exitFailed, []string{"unknown column"}, "usage", "import", fileWith(x.t, "w.csv", "workspace,item\n"))
	x.says(exitFailed, []string{"safe to send again"}, "usage", "import", fileWith(x.t, "w.json", "["+record+",{"))
}

// TestImportInBatches: a file of more than one batch is reported whole, with
// the places of what is rejected counted over all of it.
func TestImportInBatches(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	const records = 2*usageBatch + 1
	text := strings.Repeat(`{"workspace_id":"ws_none","item":"logs","hour":"2026-11-21T03:00:00Z","quantity":"1"}`+"\n", records)
	code, stdout, stderr := x.run("-o", "json", "usage", "import", fileWith(t, "u.ndjson", text))
	var got struct {
		Rejected []struct{ Index int } `json:"rejected"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitFailed || len(got.Rejected) != records {
		t.Fatalf("usage import = %d, %d rejected, %v %.200s, want %d", code, len(got.Rejected), err, stderr, records)
	}
	if last := got.Rejected[records-1].Index; last != records-1 {
		t.Errorf("the last rejected record is %d, want %d", last, records-1)
	}
}
