package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/store/postgres"
	"cloudsettle/store/postgres/pgtest"
)

// cuts is how many commits in a row each test cuts.
const cuts = 60

// fate is what becomes of a commit.
type fate int32

const (
	passes     fate = iota
	unsent          // it does not reach the server; all that is before it does
	unanswered      // the server commits, and the client does not hear of it
)

// commitCut is a network that closes a connection at one commit, before or
// after it.
type commitCut struct {
	next atomic.Int32 // the fate of the next commit
	cut  atomic.Int64 // commits that had one
}

func (c *commitCut) strikes(f fate) bool {
	if !c.next.CompareAndSwap(int32(f), int32(passes)) {
		return false
	}
	c.cut.Add(1)
	return true
}

// carry implements the network. It speaks the frontend/backend protocol 3.0.
func (c *commitCut) carry(from, to net.Conn, fromClient bool) {
	in, out := bufio.NewReader(from), bufio.NewWriter(to)
	if fromClient && forwardStartup(in, out) != nil {
		return
	}
	commits := map[string]bool{} // names of prepared statements
	for {
		m, err := read(in)
		if err != nil {
			return
		}
		if fromClient && c.isCommit(m, commits) && c.strikes(unsent) ||
			!fromClient && m.is('C', "COMMIT") && c.strikes(unanswered) {
			_ = out.Flush()
			return
		}
		if _, err = out.Write(m); err == nil && in.Buffered() == 0 {
			err = out.Flush()
		}
		if err != nil {
			return
		}
	}
}

// isCommit reports whether m runs a prepared commit, and notes those that are
// prepared.
func (c *commitCut) isCommit(m message, commits map[string]bool) bool {
	first, rest, _ := bytes.Cut(m[headerSize:], []byte{0})
	second, _, _ := bytes.Cut(rest, []byte{0})
	switch m[0] {
	case 'P': // Parse: the statement's name, its text
		commits[string(first)] = string(second) == "commit"
	case 'B': // Bind: the portal, the statement's name
		return commits[string(second)]
	}
	return false
}

// message is one of the protocol's: a letter, a length that counts itself, the
// content.
type message []byte

const headerSize = 5

// is reports whether m has a letter and begins with a string.
func (m message) is(letter byte, text string) bool {
	return m[0] == letter && bytes.HasPrefix(m[headerSize:], append([]byte(text), 0))
}

func read(in *bufio.Reader) (message, error) {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	m := append(head, make([]byte, size-4)...)
	_, err := io.ReadFull(in, m[headerSize:])
	return m, err
}

// forwardStartup passes the first message on, which has no letter.
func forwardStartup(in *bufio.Reader, out *bufio.Writer) error {
	size, err := in.Peek(headerSize - 1)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, in, int64(binary.BigEndian.Uint32(size)))
	return errors.Join(err, out.Flush())
}

// cutRig is a store behind such a network, and one that is not.
type cutRig struct {
	*commitCut
	t               *testing.T
	through, direct *postgres.Store
	url             string
}

func newCutRig(t *testing.T) *cutRig {
	t.Helper()
	x := &cutRig{commitCut: &commitCut{}, t: t, url: pgtest.New(t)}
	server := pgtest.Shared(t)
	p := newProxy(t, server.Addr(), x.carry)
	x.direct = open(t, x.url)
	x.through = open(t, server.At(p.addr(), x.url))
	return x
}

// fates returns how many commits the store was sure of, and how many it gave up.
func (x *cutRig) fates() (committed, voided int) {
	x.t.Helper()
	c, err := pgx.Connect(x.t.Context(), x.url)
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close(x.t.Context())
	err = c.QueryRow(x.t.Context(), "select count(*) filter (where committed), count(*) filter (where not committed) from commits").
		Scan(&committed, &voided)
	if err != nil {
		x.t.Fatal(err)
	}
	return committed, voided
}

// cutCases are the places of a cut, and what follows from each.
var cutCases = []struct {
	name string
	fate fate
	runs int // of the transaction's function, until it is committed
}{
	{"its reply is lost", unanswered, 1}, // found committed
	{"it is lost", unsent, 2},            // found not committed, and given up
}

// TestCommitCut: a connection breaks at each commit. Whether it was before or
// after it is found out, and all is done once, by callers that claim nothing.
func TestCommitCut(t *testing.T) {
	t.Parallel()
	for _, c := range cutCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newCutRig(t)
			for n := range cuts {
				x.next.Store(int32(c.fate))
				runs := 0
				err := x.through.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
					runs++
					return addOne(ctx, tx)
				})
				if err != nil || runs != c.runs {
					t.Fatalf("Update() = %v after %d runs, want %d", err, runs, c.runs)
				}
				if cut, got := x.cut.Load(), ones(t, x.direct); cut != int64(n+1) || got != n+1 {
					t.Fatalf("%d committed after %d calls with %d cuts", got, n+1, cut)
				}
			}
			x.wantFates(cuts, cuts*(c.runs-1))
		})
	}
}

func (x *cutRig) wantFates(committed, voided int) {
	x.t.Helper()
	if yes, no := x.fates(); yes != committed || no != voided {
		x.t.Errorf("%d commits and %d given up are on record, want %d and %d", yes, no, committed, voided)
	}
}

// addOne counts in a setting.
func addOne(ctx context.Context, tx core.Tx) error {
	n, err := readOnes(ctx, tx)
	if err != nil {
		return err
	}
	return tx.PutSetting(ctx, "ones", fmt.Sprint(n+1))
}

func readOnes(ctx context.Context, tx core.ReadTx) (n int, err error) {
	text, err := tx.Setting(ctx, "ones")
	if errors.Is(err, core.ErrNotFound) {
		return 0, nil
	}
	if err == nil {
		_, err = fmt.Sscan(text, &n)
	}
	return n, err
}

func ones(t *testing.T, s core.Store) int {
	t.Helper()
	n, err := core.InView(t.Context(), s, readOnes)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTopUpOverCutCommits: likewise for a wallet that is topped up through the
// service, with and without a key: each time it is there once.
func TestTopUpOverCutCommits(t *testing.T) {
	t.Parallel()
	for _, c := range cutCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newCutRig(t)
			svc, direct := walletService(x.through), walletService(x.direct)
			acc, err := direct.CreateBillingAccount(t.Context(), core.Request{}, account.Account{
				UserName: "acme", Email: "acme@example.com", Currency: "CNY",
			})
			if err != nil {
				t.Fatal(err)
			}
			before, _ := x.fates()
			for n := range cuts {
				var r core.Request
				if n%2 == 0 {
					r.Key = fmt.Sprint("top-up ", n)
				}
				x.next.Store(int32(c.fate))
				x.topUp(svc, r, acc.ID, n)
				if r.Key != "" {
					x.topUp(svc, r, acc.ID, n) // a repeat is told the same
				}
			}
			if x.cut.Load() != cuts {
				t.Errorf("%d cuts, want %d", x.cut.Load(), cuts)
			}
			x.wantFates(before+cuts, cuts*(c.runs-1))
			w, err := direct.WalletOf(t.Context(), core.Actor{}, acc.ID, "CNY")
			if want := money.Micros(cuts) * money.Unit; err != nil || w.Balance != want || w.Head.Seq != cuts {
				t.Errorf("the wallet has %s from %d transactions, %v, want %s from %d", w.Balance, w.Head.Seq, err, want, cuts)
			}
			if v, err := direct.Verify(t.Context()); err != nil || !v.OK {
				t.Errorf("Verify() = %+v, %v", v, err)
			}
		})
	}
}

// topUp adds one unit, which must be the n-th transaction after none.
func (x *cutRig) topUp(svc *core.Service, r core.Request, id account.ID, n int) {
	x.t.Helper()
	posted, err := svc.AdjustWallet(x.t.Context(), r, id, money.Amount{Micros: money.Unit, Currency: "CNY"}, "paid in advance")
	if err != nil || posted.Seq != uint64(n+1) || posted.Kind != ledger.Adjustment { // #nosec -- it is small
		x.t.Fatalf("AdjustWallet() = %+v, %v, want transaction %d", posted, err, n+1)
	}
}

// walletService is a service that moves money.
func walletService(s core.Store) *core.Service {
	return core.NewService(core.Config{
		Store: s, Now: time.Now, NewID: id.NewGenerator(time.Now).New, Shared: true,
		Log: slog.New(slog.DiscardHandler), LinkKey: make([]byte, 32),
	})
}
