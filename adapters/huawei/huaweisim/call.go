package huaweisim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloudsettle/adapters/internal/sim"
)

// call is one callback that is delivered until the program is content.
type call struct {
	sim        *Sim
	version    Version
	activity   string
	fields     map[string]any
	businessID func() string // of a purchase: another one for every attempt
	test       bool
	order      *Order
	line       *Line
	// accepted and failed run with the lock held, once.
	accepted func(*call, answer)
	failed   func(*call)

	// Guarded by the simulator's lock.
	done bool
	last *sent
}

// sent is a request as it went over the wire.
type sent struct {
	method, url, key string
	body             []byte
}

// answer is what the program answers, as far as KooGallery looks.
type answer struct {
	ResultCode string  `json:"resultCode"`
	ResultMsg  string  `json:"resultMsg"`
	InstanceID string  `json:"instanceId"`
	AppInfo    appInfo `json:"appInfo"`
	Info       []struct {
		InstanceID string  `json:"instanceId"`
		AppInfo    appInfo `json:"appInfo"`
	} `json:"info"`
}

type appInfo struct {
	FrontEndURL string `json:"frontEndUrl"`
}

// keyOf carries the key that a request was signed with to where its answer is
// checked.
type keyOf struct{}

// send delivers a call with retries. The caller holds the lock.
func (s *Sim) send(c *call) { s.sender.Send(c.delivery()) }

// enqueue delivers a call that freezes or thaws after those before it.
func (s *Sim) enqueue(i *Instance, c *call) {
	next := func() {
		if i.queue = i.queue[1:]; len(i.queue) > 0 {
			s.send(i.queue[0])
		}
	}
	c.accepted = func(*call, answer) { next() }
	c.failed = func(*call) { next() }
	if i.queue = append(i.queue, c); len(i.queue) == 1 {
		s.send(c)
	}
}

func (c *call) delivery() sim.Delivery {
	return sim.Delivery{
		Name: c.activity, Build: c.build, Accept: c.accept, Schedule: c.schedule(),
		Accepted: c.onAccepted, Failed: c.onFailed,
	}
}

// schedule returns the waits that some page of the documentation names. The
// caller holds the lock.
func (c *call) schedule() []time.Duration {
	switch {
	case c.activity == "changeInstanceCheck": // a no is an answer
		return nil
	case c.activity == "queryInstance":
		return slices.Repeat([]time.Duration{time.Minute}, 120)
	case c.sim.cadence != "hourly":
		return slices.Repeat([]time.Duration{2 * time.Minute}, 60)
	case c.activity == "newInstance":
		return slices.Repeat([]time.Duration{time.Hour}, 3)
	default:
		return slices.Repeat([]time.Duration{10 * time.Minute}, 6)
	}
}

// build signs anew for every attempt, with a new businessId. After success it
// repeats the same bytes: then it is the network that repeats itself.
func (c *call) build(ctx context.Context, _ int) (*http.Request, error) {
	c.sim.mu.Lock()
	if !c.done || c.last == nil {
		c.last = c.sign()
	}
	m := *c.last
	c.sim.mu.Unlock()
	ctx = context.WithValue(ctx, keyOf{}, m.key)
	req, err := http.NewRequestWithContext(ctx, m.method, m.url, bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "Apache-HttpClient/4.5.3 (Java/1.8.0)")
	if c.version == 2 {
		req.Header.Set("Accept", "application/json")
		req.Header.Set("Content-Type", "application/json;charset=utf8")
	}
	return req, nil
}

// sign makes the request. The caller holds the lock.
func (c *call) sign() *sent {
	s := c.sim
	at := max(s.cfg.Now().UnixMilli(), s.lastStamp+1)
	s.lastStamp = at
	fields := maps.Clone(c.fields)
	fields["activity"] = c.activity
	if c.businessID != nil {
		fields["businessId"] = c.businessID()
	}
	target := s.cfg.Target + "/webhooks/" + string(s.cfg.Listing)
	if c.version == 1 {
		query := s.queryV1(fields, time.UnixMilli(at).UTC())
		return &sent{method: http.MethodGet, key: s.key, url: target + "?" + query}
	}
	key := s.key
	if c.activity == "orderNotify" && s.own.OrderNotifyKey != "" {
		key = s.own.OrderNotifyKey
	}
	body := compact(fields)
	stamp := strconv.FormatInt(at, 10)
	nonce := strings.ToUpper(strings.ReplaceAll(s.uid()+s.uid(), "-", ""))
	signature := strings.ToUpper(signBody(key, nonce, stamp, body))
	q := url.Values{"timestamp": {stamp}, "nonce": {nonce}, "signature": {signature}}
	return &sent{method: http.MethodPost, key: key, url: target + "?" + q.Encode(), body: body}
}

// queryV1 signs parameters and writes them in an order of no meaning.
func (s *Sim) queryV1(fields map[string]any, at time.Time) string {
	values := map[string]string{"timeStamp": strings.ReplaceAll(at.Format("20060102150405.000"), ".", "")}
	for k, v := range fields {
		values[k], _ = v.(string)
	}
	values["authToken"] = authToken(s.key, values)
	pairs := make([]string, 0, len(values))
	for _, k := range slices.Sorted(maps.Keys(values)) {
		pairs = append(pairs, k+"="+url.QueryEscape(values[k]))
	}
	s.rnd.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	return strings.Join(pairs, "&")
}

// compact writes fields as Huawei's serializer does: keys ascending, nothing
// escaped that need not be.
func compact(fields map[string]any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(fields) // strings, numbers and maps of them always encode
	return bytes.TrimSpace(b.Bytes())
}

// accept reports whether KooGallery is content. A purchase in version 2 may be
// under way still; then it asks until the instance is there.
func (c *call) accept(status int, body []byte) bool {
	var a answer
	if status != http.StatusOK || json.Unmarshal(body, &a) != nil {
		return false
	}
	switch {
	case c.activity != "newInstance":
		return a.ResultCode == "000000"
	case a.ResultCode != "000000" && (a.ResultCode != "000004" || c.version == 1):
		return false
	case a.InstanceID == "":
		c.sim.violate("newInstance %s: success without instanceId", c.line.OrderLineID)
		return false
	}
	c.sim.mu.Lock()
	was := c.line.InstanceID
	if was == "" && !c.test {
		c.line.InstanceID = a.InstanceID
	}
	c.sim.mu.Unlock()
	if was != "" && was != a.InstanceID {
		c.sim.violate("newInstance %s: instanceId %s, before: %s", c.line.OrderLineID, a.InstanceID, was)
	}
	return true
}

func (c *call) onAccepted(body []byte) {
	var a answer
	_ = json.Unmarshal(body, &a) // accept read it before
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	if c.done {
		return
	}
	if c.done = true; c.accepted != nil {
		c.accepted(c, a)
	}
}

func (c *call) onFailed() {
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	if c.activity != "newInstance" && c.activity != "changeInstanceCheck" {
		c.sim.stopped = append(c.sim.stopped, c)
	}
	if c.failed != nil {
		c.failed(c)
	}
}

// checkingTransport checks the signature of every answer, as KooGallery does
// in version 1. In version 2 China does not ask for one; a missing or wrong one
// is noted and not punished.
type checkingTransport struct {
	base http.RoundTripper
	sim  *Sim
}

// RoundTrip makes one call.
func (t checkingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	key, _ := r.Context().Value(keyOf{}).(string)
	if err := checkBodySign(key, resp.Header.Values("Body-Sign"), body); err != nil {
		t.sim.violate("%s: %v", r.Method, err)
		if r.Method == http.MethodGet {
			return nil, err
		}
	}
	return resp, nil
}
