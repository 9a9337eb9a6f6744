package ledger_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
)

var at = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

func book() ledger.Head { return ledger.Head{Owner: "ba_1", Currency: "CNY"} }

func move(from, to ledger.Account, m money.Micros) ledger.Transaction {
	return ledger.Transaction{At: at, Kind: ledger.Adjustment, Postings: []ledger.Posting{{Account: from, Micros: -m}, {Account: to, Micros: m}}}
}

func TestPostRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		tx   ledger.Transaction
		want error
	}{
		{"Unbalanced", ledger.Transaction{Postings: []ledger.Posting{{Account: ledger.Cash, Micros: 1}}}, ledger.ErrUnbalanced},
		{"Empty", ledger.Transaction{}, ledger.ErrEmpty},
		{"CancelsOut", move(ledger.Cash, ledger.Cash, 5), ledger.ErrEmpty},
		{"CashBelowZero", move(ledger.Cash, ledger.Revenue, 1), ledger.ErrInsufficient},
		{"VoucherBelowZero", move(ledger.Voucher("v"), ledger.Revenue, 1), ledger.ErrInsufficient},
		{"CardBelowZero", move(ledger.Card("c"), ledger.Revenue, 1), ledger.ErrInsufficient},
	} {
		before := book()
		head, _, err := before.Post(c.tx)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: Post() = %v, want %v", c.name, err, c.want)
		}
		if err == nil || head.Seq != 0 {
			t.Errorf("%s: the book moved to %d", c.name, head.Seq)
		}
	}
}

func TestPostRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	head, _, err := book().Post(move(ledger.External, ledger.Cash, 1<<62))
	if err != nil {
		t.Fatal(err)
	}
	if next, _, err := head.Post(move(ledger.External, ledger.Cash, 1<<62)); !errors.Is(err, money.ErrOverflow) || next.Seq != 1 {
		t.Errorf("Post() beyond 63 bits = %v at %d, want ErrOverflow at 1", err, next.Seq)
	}
}

// TestBalancesAreTheFoldOfPostings posts random movements and holds the heads
// against a map; then every single change of a stored book is found.
func TestBalancesAreTheFoldOfPostings(t *testing.T) {
	t.Parallel()
	accounts := []ledger.Account{ledger.Cash, ledger.Arrears, ledger.Revenue, ledger.External, ledger.Carry, ledger.Voucher("1"), ledger.Cloud("s")}
	rapid.Check(t, func(t *rapid.T) {
		head, want := book(), map[ledger.Account]money.Micros{}
		var txs []ledger.Transaction
		for range rapid.IntRange(1, 20).Draw(t, "n") {
			from := rapid.SampledFrom(accounts).Draw(t, "from")
			to := rapid.SampledFrom(accounts).Draw(t, "to")
			m := money.Micros(rapid.Int64Range(1, 1e12).Draw(t, "m"))
			next, tx, err := head.Post(move(from, to, m))
			if err != nil {
				continue
			}
			want[from] -= m
			want[to] += m
			head, txs = next, append(txs, tx)
		}
		for _, a := range accounts {
			if head.Of(a) != want[a] {
				t.Fatalf("balance of %s = %s, want %s", a, head.Of(a), want[a])
			}
		}
		if err := prove(txs, head); err != nil {
			t.Fatalf("an honest book: %v", err)
		}
		if len(txs) > 0 {
			i := rapid.IntRange(0, len(txs)-1).Draw(t, "i")
			forged := append([]ledger.Transaction(nil), txs...)
			forged[i].Postings = append([]ledger.Posting(nil), forged[i].Postings...)
			forged[i].Postings[0].Micros++
			forged[i].Postings[1].Micros--
			if prove(forged, head) == nil {
				t.Fatal("a changed posting was not found")
			}
			if prove(append(append([]ledger.Transaction(nil), txs[:i]...), txs[i+1:]...), head) == nil {
				t.Fatal("a removed transaction was not found")
			}
		}
	})
}

func prove(txs []ledger.Transaction, head ledger.Head) error {
	p := ledger.NewProof(book())
	for _, tx := range txs {
		if err := p.Next(tx); err != nil {
			return err
		}
	}
	return p.End(head)
}
