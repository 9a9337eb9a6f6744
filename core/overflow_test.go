package core_test

import (
	"testing"
	"time"
)

// TestImmenseUsageWaitsAlone: usage that comes to more than a bill or a book
// can hold is not billed; everybody else's is.
func TestImmenseUsageWaitsAlone(t *testing.T) {
	t.Parallel()
	const nineTrillion = "6000000000000000000" // logs of 14 days
	t.Run("OneBill", func(t *testing.T) {
		t.Parallel()
		x := newTill(t)
		wild, tame := x.payg(), x.payg()
		x.use(wild, "logs", "14d", 1, nineTrillion)
		x.use(wild, "logs", "7d", 1, nineTrillion)
		x.use(tame, "logs", "14d", 1, "1000000")
		x.clock.Add(48 * time.Hour)
		if made, waiting := x.settle(x.day); made != 1 || waiting != 1 {
			t.Errorf("%d bills, %d wait, want one each", made, waiting)
		}
		x.bill(tame, x.day)
		x.sound()
	})
	t.Run("OneBook", func(t *testing.T) {
		t.Parallel()
		x := newTill(t)
		wild, tame := x.payg(), x.payg()
		x.use(wild, "logs", "14d", 1, nineTrillion)
		x.close()
		x.next()
		for range 2 { // each of them is too much beside what is owed already
			x.use(wild, "logs", "14d", 1, nineTrillion)
			wild = x.payg()
		}
		x.use(tame, "logs", "14d", 1, "1000000")
		x.clock.Add(48 * time.Hour)
		if made, waiting := x.settle(x.day); made != 1 || waiting != 2 {
			t.Errorf("%d bills, %d wait, want one and two", made, waiting)
		}
		x.bill(tame, x.day)
		x.sound()
	})
}
