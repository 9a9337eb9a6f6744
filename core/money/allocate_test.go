package money_test

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cloudsettle/core/money"
)

func TestAllocate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		total   money.Micros
		weights []int64
		want    []money.Micros
	}{
		{100, []int64{1, 1, 1}, []money.Micros{34, 33, 33}},
		{-100, []int64{1, 1, 1}, []money.Micros{-34, -33, -33}},
		{101, []int64{1, 1, 1}, []money.Micros{34, 34, 33}},
		{10, []int64{1, 2, 1}, []money.Micros{3, 5, 2}},
		{10, []int64{0, 3, 0}, []money.Micros{0, 10, 0}},
		{1, []int64{1, 5, 1}, []money.Micros{0, 1, 0}},
		{0, []int64{1, 2}, []money.Micros{0, 0}},
		{most, []int64{math.MaxInt64, math.MaxInt64}, []money.Micros{most/2 + 1, most / 2}},
		{least, []int64{1}, []money.Micros{least}},
		{least, []int64{1, 1}, []money.Micros{least / 2, least / 2}},
	} {
		got, err := money.Allocate(c.total, c.weights)
		if !slices.Equal(got, c.want) || err != nil {
			t.Errorf("Allocate(%d, %v) = %d, %v, want %d", int64(c.total), c.weights, got, err, c.want)
		}
	}
}

func TestAllocateRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		weights []int64
		want    error
	}{
		{nil, money.ErrWeights},
		{[]int64{0, 0}, money.ErrWeights},
		{[]int64{2, -1}, money.ErrWeights},
		{[]int64{math.MaxInt64, math.MaxInt64, 2}, money.ErrOverflow},
	} {
		if got, err := money.Allocate(1, c.weights); !errors.Is(err, c.want) {
			t.Errorf("Allocate(1, %v) = %v, %v, want %v", c.weights, got, err, c.want)
		}
	}
}

// checkAllocation: parts add up, none is a micro or more off its share, parts
// of no weight are nothing, and a refund mirrors its charge.
func checkAllocation(t interface{ Fatalf(string, ...any) }, total money.Micros, weights []int64) {
	parts, err := money.Allocate(total, weights)
	if err != nil {
		t.Fatalf("Allocate(%d, %v) = %v", total, weights, err)
	}
	all, sum := new(big.Int), new(big.Int)
	for i, p := range parts {
		all.Add(all, big.NewInt(int64(p)))
		sum.Add(sum, big.NewInt(weights[i]))
	}
	if all.Cmp(big.NewInt(int64(total))) != 0 {
		t.Fatalf("Allocate(%d, %v) = %v, which adds up to %d", total, weights, parts, all)
	}
	for i, p := range parts {
		exact := new(big.Int).Mul(big.NewInt(int64(total)), big.NewInt(weights[i]))
		off := new(big.Int).Sub(new(big.Int).Mul(big.NewInt(int64(p)), sum), exact)
		if off.CmpAbs(sum) >= 0 || weights[i] == 0 && p != 0 {
			t.Fatalf("Allocate(%d, %v)[%d] = %d, off its share", total, weights, i, p)
		}
	}
	opposite, err := total.Neg()
	if err != nil {
		return
	}
	mirror, err := money.Allocate(opposite, weights)
	if err != nil || !slices.EqualFunc(parts, mirror, func(a, b money.Micros) bool { return a == -b }) {
		t.Fatalf("Allocate(%d, %v) = %v, %v, not the mirror of %v", opposite, weights, mirror, err, parts)
	}
}

func TestAllocateAddsUp(t *testing.T) {
	t.Parallel()
	weight := rapid.OneOf(rapid.Int64Range(0, 10), rapid.Int64Range(0, math.MaxInt64/32))
	rapid.Check(t, func(t *rapid.T) {
		weights := append(rapid.SliceOfN(weight, 0, 20).Draw(t, "weights"), 1)
		checkAllocation(t, micros().Draw(t, "total"), weights)
	})
}

func FuzzAllocate(f *testing.F) {
	f.Add(int64(100), []byte{1, 1, 1})
	f.Add(int64(math.MinInt64), []byte{0, 255})
	f.Fuzz(func(t *testing.T, total int64, bytes []byte) {
		weights := []int64{1}
		for _, b := range bytes {
			weights = append(weights, int64(b)<<(b%32))
		}
		checkAllocation(t, money.Micros(total), weights)
	})
}
