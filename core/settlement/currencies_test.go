package settlement_test

import (
	"testing"

	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/workspace"
)

// TestCurrencies pays three days of 10.4955 each in currencies with 2, 3 and no
// decimals: whole minor units are charged, halves go to even, and the rest is
// carried to the next day. Worked out by hand.
func TestCurrencies(t *testing.T) {
	t.Parallel()
	const day = 10_495_500
	for currency, want := range map[money.Currency][3]money.Micros{
		"CNY": {10_500_000, 10_490_000, 10_500_000}, // 10.4955, then 20.9910 - 10.50 = 10.4910, then 31.4865 - 20.99 = 10.4965
		"KWD": {10_496_000, 10_495_000, 10_496_000}, // 10.4955 is even at .496; 10.4950; 10.4955 again
		"JPY": {10_000_000, 11_000_000, 10_000_000}, // 10.4955, then 10.9910, then 10.4865
	} {
		head := ledger.Head{Owner: "ba_1", Currency: currency}
		head, _, err := head.Post(ledger.Transaction{At: at, Postings: []ledger.Posting{
			{Account: ledger.External, Micros: -100 * money.Unit}, {Account: ledger.Cash, Micros: 100 * money.Unit},
		}})
		if err != nil {
			t.Fatal(err)
		}
		for i, charge := range want {
			b := settlement.DailyBill{Currency: currency, Lines: []settlement.Line{{Amount: day}}, Total: day}
			if b.Split, err = settlement.Deduct(b.Lines, settlement.Purse{Head: head, At: at}, workspace.ByBillingAccount); err != nil {
				t.Fatal(err)
			}
			before := head.Of(ledger.Cash)
			if head, _, err = head.Post(ledger.Transaction{At: at, Kind: ledger.Usage, Postings: b.Postings()}); err != nil {
				t.Fatal(err)
			}
			if got := before - head.Of(ledger.Cash); got != charge {
				t.Errorf("%s: day %d is charged %s, want %s", currency, i+1, got, charge)
			}
		}
	}
}
