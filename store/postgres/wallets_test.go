package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/store/postgres/pgtest"
)

// How wallets are tested.
const (
	walletWorkers    = 64
	walletCount      = 128
	walletOperations = 100_000
	// walletOperationsRace is how many the race detector, which slows them down
	// several times, is given: a minute beside other tests.
	walletOperationsRace = 8_000
	askedTwice           = 8 // of so many operations one is asked of two replicas at once
)

// walletModel is what one wallet must hold.
type walletModel struct {
	id account.ID

	mu     sync.Mutex
	asking int                     // calls that have no answer yet
	posted map[uint64]money.Micros // what was answered, by its place in the book
	denied []denial
}

// denial is money that was not there. Between the call and its answer the book
// had at least from and at most upto transactions.
type denial struct {
	amount     money.Micros
	from, upto int
}

// ask moves an amount through a replica and notes the answer.
func (m *walletModel) ask(ctx context.Context, svc *core.Service, key string, amount money.Micros) error {
	m.mu.Lock()
	m.asking++
	from := len(m.posted)
	m.mu.Unlock()
	posted, err := svc.AdjustWallet(ctx, core.Request{Key: key}, m.id, money.Amount{Micros: amount, Currency: "CNY"}, "a change")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asking--
	var f *core.Fault
	switch {
	case err == nil:
		if prior, again := m.posted[posted.Seq]; again && (key == "" || prior != amount) {
			return fmt.Errorf("transaction %d of %s was answered twice, with %s and %s", posted.Seq, m.id, prior, amount)
		}
		m.posted[posted.Seq] = amount
	case errors.As(err, &f) && f.Code == "insufficient_balance":
		m.denied = append(m.denied, denial{amount, from, len(m.posted) + m.asking})
	default:
		return err
	}
	return nil
}

// check compares the book with the model, and its chain with itself.
func (m *walletModel) check(ctx context.Context, tx core.ReadTx) error {
	head, err := tx.LedgerHead(ctx, m.id, "CNY")
	if err != nil {
		return err
	}
	proof := ledger.NewProof(ledger.Head{Owner: string(m.id), Currency: "CNY"})
	balances := []money.Micros{0} // after so many transactions
	for got, err := range tx.LedgerTransactions(ctx, m.id, "CNY", core.Page{}) {
		if err == nil {
			err = proof.Next(got)
		}
		if err != nil {
			return err
		}
		want, known := m.posted[got.Seq]
		now := balances[len(balances)-1] + want
		if !known || cashOf(got) != want || now < 0 {
			return fmt.Errorf("transaction %d of %s moved %s, want %s (answered: %t), to a balance of %s",
				got.Seq, m.id, cashOf(got), want, known, now)
		}
		balances = append(balances, now)
	}
	if err := proof.End(head); err != nil {
		return fmt.Errorf("%s: %w", m.id, err)
	}
	if last := balances[len(balances)-1]; len(balances) != len(m.posted)+1 || head.Of(ledger.Cash) != last {
		return fmt.Errorf("%s has %s from %d transactions, want %s from %d", m.id, head.Of(ledger.Cash), head.Seq, last, len(m.posted))
	}
	return m.checkDenied(balances)
}

// checkDenied: nothing was denied that was there all the time.
func (m *walletModel) checkDenied(balances []money.Micros) error {
	for _, d := range m.denied {
		missing := false
		for n := d.from; n <= min(d.upto, len(balances)-1); n++ {
			missing = missing || balances[n]+d.amount < 0
		}
		if !missing {
			return fmt.Errorf("%s was denied of %s while it held at least that", d.amount, m.id)
		}
	}
	return nil
}

// cashOf is what a transaction moved into cash.
func cashOf(t ledger.Transaction) (sum money.Micros) {
	for _, p := range t.Postings {
		if p.Account == ledger.Cash {
			sum += p.Micros
		}
	}
	return sum
}

// TestWallets: workers of three replicas on one database top up and charge
// wallets that they share. Every book holds what was answered, in that order,
// never below zero, and what was denied was not there.
func TestWallets(t *testing.T) {
	t.Parallel()
	operations := walletOperations
	if testing.Short() || raceEnabled {
		operations = walletOperationsRace
	}
	url := pgtest.New(t)
	var replicas []*core.Service
	for range 3 {
		replicas = append(replicas, walletService(open(t, url)))
	}
	wallets := newWallets(t, replicas[0])
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	began := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range walletWorkers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			for n := next.Add(1); n <= int64(operations) && !t.Failed(); n = next.Add(1) {
				if err := operate(t.Context(), random, wallets, replicas, w, n); err != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	checkWallets(t, replicas[1], wallets)
	posted, denied := 0, 0
	for _, m := range wallets {
		posted, denied = posted+len(m.posted), denied+len(m.denied)
	}
	if posted == 0 || denied == 0 {
		t.Errorf("%d posted and %d denied: the test does not test", posted, denied)
	}
	t.Logf("%d operations, %.0f a second: %d posted, %d denied", operations, float64(operations)/took.Seconds(), posted, denied)
}

// operate has the replica of a worker do one operation on some wallet. Some have
// a key, and are asked of another replica at the same time.
func operate(ctx context.Context, random *rand.Rand, wallets []*walletModel, replicas []*core.Service, worker int, n int64) error {
	m := wallets[random.IntN(len(wallets))]
	amount := money.Micros(random.IntN(2000)-1000) * 10_000
	if amount == 0 {
		amount = money.Unit
	}
	svc, other := replicas[worker%len(replicas)], replicas[(worker+1)%len(replicas)]
	if random.IntN(askedTwice) > 0 {
		return m.ask(ctx, svc, "", amount)
	}
	key := fmt.Sprintf("operation %d", n)
	second := make(chan error, 1)
	go func() { second <- m.ask(ctx, other, key, amount) }()
	return errors.Join(m.ask(ctx, svc, key, amount), <-second)
}

func newWallets(t *testing.T, svc *core.Service) (out []*walletModel) {
	t.Helper()
	for n := range walletCount {
		name := fmt.Sprintf("user-%03d", n)
		a, err := svc.CreateBillingAccount(t.Context(), core.Request{}, account.Account{
			UserName: name, Email: name + "@example.com", Currency: "CNY",
		})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &walletModel{id: a.ID, posted: map[uint64]money.Micros{}})
	}
	return out
}

func checkWallets(t *testing.T, svc *core.Service, wallets []*walletModel) {
	t.Helper()
	err := svc.Store.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		var errs []error
		for _, m := range wallets {
			errs = append(errs, m.check(ctx, tx))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Error(err)
	}
	if v, err := svc.Verify(t.Context()); err != nil || !v.OK {
		t.Errorf("Verify() = %+v, %v", v, err)
	}
}
