package webhooks_test

import (
	"crypto/md5" // #nosec -- the marketplace's own token
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloudsettle/adapters"
	"cloudsettle/core"
)

// roundLength is how long each side of a pair is measured. Pairs are taken in
// turn, so that a machine that drifts treats both alike.
const roundLength = time.Second

// BenchmarkCallback measures the whole way of a callback (HTTP, verify, apply,
// commit, reply) as a share of C1 in the same run. Run with -benchtime=Nx for
// N pairs.
func BenchmarkCallback(b *testing.B) {
	for _, s := range sources(b) {
		for _, conns := range []int{64, 256} {
			b.Run(fmt.Sprintf("%s/c=%d", s.name, conns), func(b *testing.B) {
				addr, _ := program(b, s.market)
				c1 := control(b)
				var shares, tails, rates []float64
				theirs, own := s.stream(), s.stream() // ours may only look back at what we sold
				for b.Loop() {
					base := load{addr: c1, conns: conns, next: theirs, want: ok}.run(b, roundLength)
					ours := load{addr: addr, conns: conns, next: own, want: s.want}.run(b, roundLength)
					if base.wrong+ours.wrong > 0 {
						b.Fatalf("%d wrong answers, such as %s%s", base.wrong+ours.wrong, base.body, ours.body)
					}
					shares = append(shares, ours.rate/base.rate)
					tails = append(tails, float64(ours.p99)/float64(base.p99))
					rates = append(rates, ours.rate)
				}
				b.ReportMetric(median(shares), "share-of-C1")
				b.ReportMetric(median(tails), "p99/C1")
				b.ReportMetric(median(rates), "callbacks/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func ok(status int, _ []byte) bool { return status == 200 }

// source makes callbacks of one marketplace: half of them purchases, the rest
// what happens to what was bought a while ago.
type source struct {
	name   string
	market core.Marketplace
	stream func() func() []byte // a new sequence of requests
	want   func(int, []byte) bool
}

func sources(tb testing.TB) []source {
	return []source{alibabaSource(tb), huaweiSource(tb), eventBridgeSource(tb)}
}

// open opens an adapter with a listing's configuration.
func open(tb testing.TB, l core.Listing, raw map[string]any) core.Marketplace {
	tb.Helper()
	raw["id"], raw["provider"] = l.ID, l.Provider
	text, err := json.Marshal(raw)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := adapters.Open(l, core.Settings{
		Raw: text, PublicURL: "https://billing.example.com", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// ago is how many purchases a later callback looks back: those are surely
// answered.
const ago = 4096

// life calls request for the n-th callback: with at 0 for the purchase that
// bought numbers, else for what happens to purchase at.
func life(request func(n, bought, at int) []byte) func() []byte {
	n, bought := 0, 0
	return func() []byte {
		n++
		if at := bought - ago; at > 0 && n%2 == 0 {
			return request(n, bought, at)
		}
		bought++
		return request(n, bought, 0)
	}
}

func alibabaSource(tb testing.TB) source {
	const key = "bench-key-0001"
	m := open(tb, core.Listing{ID: "ali", Provider: "alibaba"}, map[string]any{"product_code": "cmgj00012345", "spi_key": key})
	return source{name: "alibaba", market: m, stream: func() func() []byte {
		return life(func(n, bought, at int) []byte {
			switch {
			case at > 0 && n%4 == 0:
				return alibabaRequest(key, "action", "renewInstance", "instanceId", fmt.Sprint(122000000+at),
					"orderId", fmt.Sprint(369000000000000+n), "expiredOn", "2028-01-25 00:00:00")
			case at > 0:
				return alibabaRequest(key, "action", "upgradeInstance", "instanceId", fmt.Sprint(122000000+at),
					"orderId", fmt.Sprint(469000000000000+n), "skuId", "yuncode6661200002")
			}
			return alibabaRequest(key, "action", "createInstance", "aliUid", fmt.Sprint(1234500000000000+bought),
				"orderBizId", fmt.Sprint(122000000+bought), "orderId", fmt.Sprint(269000000000000+bought),
				"productCode", "cmgj00012345", "skuId", "yuncode6661200001", "trial", "false", "expiredOn", "2027-01-25 00:00:00")
		})
	}, want: func(status int, body []byte) bool {
		return status == 200 && !strings.Contains(string(body), `"0"`) && !strings.Contains(string(body), "false")
	}}
}

// alibabaRequest signs parameters as the marketplace does.
func alibabaRequest(key string, pairs ...string) []byte {
	var parts, query []string
	for i := 0; i < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+"="+pairs[i+1])
		query = append(query, pairs[i]+"="+url.QueryEscape(pairs[i+1]))
	}
	slices.Sort(parts)
	sum := md5.Sum([]byte(strings.Join(parts, "&") + "&key=" + key)) // #nosec -- likewise
	return get("/webhooks/ali?" + strings.Join(query, "&") + "&token=" + hex.EncodeToString(sum[:]))
}

// BenchmarkFailingNeighbours measures what one hundredth of forged callbacks
// costs the others: the rate of the good ones as a share of their rate alone.
func BenchmarkFailingNeighbours(b *testing.B) {
	s := alibabaSource(b)
	addr, _ := program(b, s.market)
	good := s.stream()
	n := 0
	mixed := func() []byte {
		if n++; n%100 == 0 {
			return get("/webhooks/ali?action=expiredInstance&instanceId=1&token=00000000000000000000000000000000")
		}
		return good()
	}
	answered := func(status int, _ []byte) bool { return status == 200 }
	var shares []float64
	for b.Loop() {
		alone := load{addr: addr, conns: 64, next: good, want: answered}.run(b, roundLength)
		beside := load{addr: addr, conns: 64, next: mixed, want: answered}.run(b, roundLength)
		shares = append(shares, beside.rate*0.99/alone.rate)
	}
	b.ReportMetric(median(shares), "share-of-alone")
	b.ReportMetric(0, "ns/op")
}

// slowClients is how many connections are held open by clients that never
// finish their request.
const slowClients = 1000

// BenchmarkSlowClients measures what a thousand slow clients cost the others.
func BenchmarkSlowClients(b *testing.B) {
	s := alibabaSource(b)
	addr, _ := program(b, s.market)
	good := s.stream()
	var shares []float64
	for b.Loop() {
		alone := load{addr: addr, conns: 64, next: good, want: s.want}.run(b, roundLength)
		release := hold(b, addr, slowClients)
		beside := load{addr: addr, conns: 64, next: good, want: s.want}.run(b, roundLength)
		release()
		if alone.wrong+beside.wrong > 0 {
			b.Fatalf("wrong answers: %s%s", alone.body, beside.body)
		}
		shares = append(shares, beside.rate/alone.rate)
	}
	b.ReportMetric(median(shares), "share-of-alone")
	b.ReportMetric(0, "ns/op")
}

// hold opens n connections that announce a body and never send it.
func hold(tb testing.TB, addr string, n int) (release func()) {
	tb.Helper()
	var conns []net.Conn
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := c.Write([]byte("POST /webhooks/ali HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n")); err != nil {
			tb.Fatal(err)
		}
		conns = append(conns, c)
	}
	return func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}
