package bolt

import (
	"bytes"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// TestOverlayAgrees compares overlays of all sizes, used again and again, with
// a map.
func TestOverlayAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var o overlay
		for range rapid.IntRange(1, 3).Draw(t, "calls") {
			o.reset()
			want := map[target]string{}
			for range rapid.SampledFrom([]int{3, maxUnindexed, maxUnindexed + 1, 700}).Draw(t, "writes") {
				w := target{bucket(rapid.IntRange(1, 3).Draw(t, "bucket")), strconv.Itoa(rapid.IntRange(0, 400).Draw(t, "key"))}
				value := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "value")
				o.set(w.b, []byte(w.key), []byte(value))
				want[w] = value
			}
			checkOverlay(t, &o, want)
		}
	})
}

// target is what a write is to.
type target struct {
	b   bucket
	key string
}

func checkOverlay(t *rapid.T, o *overlay, want map[target]string) {
	if len(o.ops) != len(want) {
		t.Fatalf("the overlay holds %d writes, want %d", len(o.ops), len(want))
	}
	for b := range bucket(5) {
		ops := o.within(b, []byte("1"))
		if !slices.IsSortedFunc(ops, func(a, b op) int { return bytes.Compare(a.key, b.key) }) {
			t.Fatalf("within(%d) is not sorted: %q", b, ops)
		}
		n := 0
		for key := range 402 {
			w := target{b, strconv.Itoa(key)}
			value, there := want[w]
			at := o.find(b, []byte(w.key))
			if (at >= 0) != there || there && string(o.ops[at].value) != value {
				t.Fatalf("find(%d, %s) = %d, want %t %q", b, w.key, at, there, value)
			}
			if there && w.key[0] == '1' {
				n++
			}
		}
		if len(ops) != n {
			t.Fatalf("within(%d) yields %d writes, want %d", b, len(ops), n)
		}
	}
}
