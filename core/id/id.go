// Package id makes the program's own identifiers: a prefix that names the
// noun, then 26 characters of Crockford base32 that sort by creation time.
package id

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"sync"
	"time"
)

// alphabet is Crockford's base32: no I, L, O or U, and byte order is value order.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// bodyLen is the length of 128 bits written five at a time.
const bodyLen = 26

// Generator makes identifiers. Two identifiers of one generator sort in the
// order they were made, also within a millisecond: a store that keys records
// by them writes to one end of its tree.
type Generator struct {
	now  func() time.Time
	mu   sync.Mutex
	last uint64 // milliseconds
	low  uint64 // the last 64 bits handed out
	high uint16 // the 16 bits above them
}

// NewGenerator returns a generator that reads the time from now.
func NewGenerator(now func() time.Time) *Generator { return &Generator{now: now} }

// New returns a fresh identifier such as "sub_01JD4Q…". It never fails:
// crypto/rand aborts the program rather than return weak bytes.
func (g *Generator) New(prefix string) string {
	var b [16]byte
	g.fill(&b)
	return prefix + "_" + encode(b)
}

// fill writes 48 bits of time and 80 random bits; within one millisecond the
// random part counts up from a random start by a random step.
func (g *Generator) fill(b *[16]byte) {
	var r [10]byte
	_, _ = rand.Read(r[:])
	g.mu.Lock()
	defer g.mu.Unlock()
	if ms := uint64(g.now().UnixMilli()); ms > g.last {
		g.last = ms
		g.high = binary.BigEndian.Uint16(r[:2]) >> 1 // headroom: cannot overflow within a millisecond
		g.low = binary.BigEndian.Uint64(r[2:])
	} else {
		step := uint64(binary.BigEndian.Uint32(r[2:])) + 1
		if g.low+step < g.low {
			g.high++
		}
		g.low += step
	}
	binary.BigEndian.PutUint64(b[:8], g.last<<16|uint64(g.high))
	binary.BigEndian.PutUint64(b[8:], g.low)
}

// encode writes 128 bits as 26 characters, most significant first.
func encode(b [16]byte) string {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var out [bodyLen]byte
	for i := bodyLen - 1; i >= 0; i-- {
		out[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}

// Valid reports whether s looks like an identifier with this prefix.
func Valid(prefix, s string) bool {
	body, ok := strings.CutPrefix(s, prefix+"_")
	if !ok || len(body) != bodyLen {
		return false
	}
	return strings.Trim(body, alphabet) == ""
}
