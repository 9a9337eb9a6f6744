package settlement_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/workspace"
)

var at = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// TestWhatIsPaidIsTheTotal pays random bills, corrections among them, from
// random purses, one after the other: lines, payments and total always agree,
// nothing goes below zero, and no account drifts from what was earned.
func TestWhatIsPaidIsTheTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		currency := rapid.SampledFrom([]money.Currency{"CNY", "USD", "JPY"}).Draw(t, "currency")
		method := rapid.SampledFrom([]workspace.Method{workspace.ByBillingAccount, workspace.ByCloudAccount}).Draw(t, "method")
		head := ledger.Head{Owner: "ba_1", Currency: currency}
		funds := grant(t, &head, currency)
		var earned money.Micros
		for range rapid.IntRange(1, 12).Draw(t, "bills") {
			b := settlement.DailyBill{Currency: currency, Settlement: workspace.Settlement{Method: method, Subscription: "sub_1"}}
			for range rapid.IntRange(1, 4).Draw(t, "lines") {
				l := settlement.Line{Amount: money.Micros(rapid.Int64Range(-2_000_000, 9_000_000).Draw(t, "amount")), NoVouchers: rapid.Bool().Draw(t, "no vouchers")}
				b.Lines = append(b.Lines, l)
				b.Total += l.Amount
			}
			var err error
			if b.Split, err = settlement.Deduct(b.Lines, settlement.Purse{Head: head, Funds: funds, At: at}, method); err != nil {
				t.Fatal(err)
			}
			if err := b.Check(); err != nil {
				t.Fatalf("%+v: %v", b, err)
			}
			earned += b.Total
			if next, _, err := head.Post(ledger.Transaction{At: at, Kind: ledger.Usage, Postings: b.Postings()}); err == nil {
				head = next
			} else if b.Total != 0 || len(b.Deductions) > 0 {
				t.Fatalf("%+v cannot be posted: %v", b, err)
			}
			sane(t, head, currency, earned)
		}
	})
}

func grant(t *rapid.T, head *ledger.Head, c money.Currency) []settlement.Fund {
	var funds []settlement.Fund
	postings := []ledger.Posting{{Account: ledger.Cash, Micros: money.Micros(rapid.Int64Range(0, 30).Draw(t, "cash")) * money.Unit}}
	for i, k := range []settlement.FundKind{settlement.OrdinaryVoucher, settlement.DiscountVoucher, settlement.PrepaidCard} {
		f := settlement.Fund{ID: string(rune('a' + i)), Kind: k, Currency: c, From: at.AddDate(-1, 0, 0), Until: at.AddDate(0, 0, rapid.IntRange(-1, 1).Draw(t, "until"))}
		f.Face = money.Micros(rapid.Int64Range(1, 5_000_000).Draw(t, "face"))
		funds = append(funds, f)
		postings = append(postings, ledger.Posting{Account: f.Account(), Micros: f.Face})
	}
	for _, p := range postings[:] {
		postings = append(postings, ledger.Posting{Account: ledger.External, Micros: -p.Micros})
	}
	next, _, err := head.Post(ledger.Transaction{At: at, Kind: ledger.TopUp, Postings: postings})
	if err != nil {
		t.Fatal(err)
	}
	*head = next
	return funds
}

func sane(t *rapid.T, h ledger.Head, c money.Currency, earned money.Micros) {
	if h.Of(ledger.Revenue) != earned {
		t.Fatalf("earned %s, the ledger has %s", earned, h.Of(ledger.Revenue))
	}
	minor := money.Unit
	for range c.MinorDigits() {
		minor /= 10
	}
	for _, a := range []ledger.Account{ledger.Cash, ledger.Arrears} {
		if h.Of(a)%minor != 0 {
			t.Fatalf("%s holds %s, not whole minor units", a, h.Of(a))
		}
	}
	if carry := h.Of(ledger.Carry); carry <= -minor || carry >= minor {
		t.Fatalf("carry %s is a minor unit or more", carry)
	}
	if h.Of(ledger.Cash) < 0 || h.Of(ledger.Arrears) > 0 {
		t.Fatalf("cash %s, arrears %s", h.Of(ledger.Cash), h.Of(ledger.Arrears))
	}
}

// TestCreditsDoNotMakeVouchersPay: where a credit is netted with a line that
// excludes vouchers, what is left of the line excludes them still.
func TestCreditsDoNotMakeVouchersPay(t *testing.T) {
	t.Parallel()
	voucher := settlement.Fund{
		ID: "v", Kind: settlement.OrdinaryVoucher, Currency: "CNY", Face: 9 * money.Unit,
		Until: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	head := ledger.Head{Currency: "CNY", Balances: []ledger.Balance{
		{Account: ledger.Cash, Micros: 9 * money.Unit}, {Account: ledger.Voucher("v"), Micros: 9 * money.Unit},
	}}
	for _, c := range []struct {
		name                string
		general, restricted money.Micros
		want                ledger.Account
	}{
		{"CreditBesideWhatExcludesThem", -2 * money.Unit, 5 * money.Unit, ledger.Cash},
		{"CreditOfWhatExcludesThem", 5 * money.Unit, -2 * money.Unit, ledger.Voucher("v")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lines := []settlement.Line{{Item: "logs", Amount: c.general}, {Item: "sms", Amount: c.restricted, NoVouchers: true}}
			s, err := settlement.Deduct(lines, settlement.Purse{Head: head, Funds: []settlement.Fund{voucher}}, workspace.ByBillingAccount)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Deductions) != 1 || s.Deductions[0] != (settlement.Deduction{Source: c.want, Micros: 3 * money.Unit}) {
				t.Errorf("deductions %+v, want 3 from %s", s.Deductions, c.want)
			}
		})
	}
}
