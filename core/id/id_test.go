package id_test

import (
	"testing"
	"time"

	"cloudsettle/core/id"
)

func TestNewSortsByCreation(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	g := id.NewGenerator(func() time.Time { return now })
	prev := g.New("sub")
	for i := range 20000 {
		switch {
		case i == 5000:
			now = now.Add(-time.Hour) // the clock stepped back
		case i%100 == 0:
			now = now.Add(time.Millisecond)
		}
		next := g.New("sub")
		if next <= prev {
			t.Fatalf("New() = %q after %q, want it to sort later", next, prev)
		}
		if !id.Valid("sub", next) {
			t.Fatalf("Valid(%q) = false", next)
		}
		prev = next
	}
}

func TestValidRefusesStrangers(t *testing.T) {
	t.Parallel()
	good := id.NewGenerator(time.Now).New("ws")
	for _, s := range []string{"", "ws_", "sub" + good[2:], good + "0", good[:len(good)-1] + "U", good[:len(good)-1] + "\x00"} {
		if id.Valid("ws", s) {
			t.Errorf("Valid(%q) = true", s)
		}
	}
}
