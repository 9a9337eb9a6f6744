package alibabasim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloudsettle/adapters/internal/sim"
)

// Simulator plays the marketplace for one listing. It is safe for concurrent
// use.
type Simulator struct {
	cfg     sim.Config
	listing listing
	sender  *sim.Sender
	handler http.Handler
	// wall is the machine's clock, which signs the calls of the API: the SDK
	// takes no other, however the program's own clock is moved.
	wall func() time.Time

	mu           sync.Mutex
	rnd          *rand.Rand
	key          string // that callbacks are signed with now
	instances    map[string]*Instance
	order        []string // instance ids, oldest first
	parked       []parked
	stuck        []sim.Delivery       // production messages without attempts left
	nonces       map[string]time.Time // of API calls
	api          APIFaults
	metering     meteringState
	lastOrder    int64
	lastInstance int64
}

var _ sim.Simulator = (*Simulator)(nil)

// parked is a message that could not be delivered and waits to be pulled.
type parked struct {
	requestID string
	message   message
	at        time.Time
}

// listing is what the simulator needs of the listing's configuration.
type listing struct {
	Site            string `json:"site"`
	ProductCode     string `json:"product_code"`
	SPIKey          string `json:"spi_key"`
	AccessKeyID     string `json:"access_key_id"`
	AccessKeySecret string `json:"access_key_secret"`
	TimeZone        string `json:"time_zone"`
	Metering        struct {
		Key    string `json:"key"`
		Assist string `json:"assist"`
		Cycle  string `json:"cycle"`
	} `json:"metering"`
	zone *time.Location
}

func (l listing) international() bool { return l.Site == "intl" }

// firstSKU makes up a SKU: "yuncode", as seen in callbacks, and the digits of
// the product code.
func (l listing) firstSKU() string {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, l.ProductCode)
	return "yuncode" + strings.TrimLeft(digits, "0") + "00001"
}

// New returns a *Simulator that is to be closed.
func New(cfg sim.Config) (sim.Simulator, error) {
	l, err := decode(cfg)
	if err != nil {
		return nil, fmt.Errorf("alibabasim: configuration of %q: %w", cfg.Listing, err)
	}
	s := &Simulator{
		cfg: cfg, listing: l, sender: sim.NewSender(cfg), wall: time.Now, key: l.SPIKey,
		rnd:       rand.New(rand.NewPCG(cfg.Seed, 1)), // #nosec -- repeatable on purpose
		instances: map[string]*Instance{}, nonces: map[string]time.Time{}, metering: newMeteringState(),
	}
	s.handler = s.routes()
	return s, nil
}

func decode(cfg sim.Config) (listing, error) {
	l := listing{zone: time.FixedZone("Asia/Shanghai", 8*60*60)}
	if err := json.Unmarshal(cfg.Raw, &l); err != nil {
		return l, err
	}
	switch {
	case l.ProductCode == "" || l.SPIKey == "":
		return l, errors.New("product_code and spi_key are required")
	case cfg.Now == nil:
		return l, errors.New("no clock")
	case l.TimeZone == "" || l.TimeZone == l.zone.String():
		return l, nil
	}
	var err error
	l.zone, err = time.LoadLocation(l.TimeZone)
	return l, err
}

// ServeHTTP serves the API, the page and /_sim/.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Simulator) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_sim/state", s.getState)
	mux.HandleFunc("GET /_sim/attempts", s.getAttempts)
	mux.HandleFunc("POST /_sim/orders", s.postOrder)
	mux.HandleFunc("POST /_sim/orders/{id}/{action}", s.postAction)
	mux.HandleFunc("POST /_sim/faults", s.postFaults)
	mux.HandleFunc("GET /_sim/metering", s.getMetering)
	mux.HandleFunc("POST /_sim/metering/faults", s.postMeteringFaults)
	mux.HandleFunc("POST /_sim/rotate-key", s.postRotateKey)
	mux.HandleFunc("POST /_sim/retry", s.postRetry)
	mux.HandleFunc("POST /buy", s.postBuy)
	mux.HandleFunc("POST /instances/{id}/{action}", s.postForm)
	mux.HandleFunc("GET /instances/{id}/login", s.getLogin)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && !r.URL.Query().Has("Action") {
			s.showPage(w, http.StatusOK, "")
			return
		}
		s.serveAPI(w, r)
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

// Events lists the actions of the site.
func (s *Simulator) Events() []sim.Event {
	all := []sim.Event{
		{Name: createInstance, Help: "a purchase, or the start of a trial", Params: []string{
			"aliUid", "orderBizId", "orderId", "productCode", "skuId", "trial", "expiredOn"}},
		{Name: renewInstance, Help: "a renewal, or arrears were paid", Params: []string{
			"instanceId", "orderId", "expiredOn"}},
		{Name: refundRenewInstance, Help: "a renewal is taken back", Params: []string{"instanceId", "expiredOn"}},
		{Name: upgradeInstance, Help: "another plan, or other billing items", Params: []string{
			"instanceId", "orderId", "skuId"}},
		{Name: expiredInstance, Help: "the term is over, or arrears: freeze", Params: []string{"instanceId"}},
		{Name: resumeInstance, Help: "the debt is cleared: unfreeze", Params: []string{
			"instanceId", "productCode", "skuId"}},
		{Name: releaseInstance, Help: "the end", Params: []string{"instanceId", "isRefund", "orderId"}},
		{Name: orderPay, Help: "information: an order was paid", Params: []string{
			"requestId", "aliUid", "orderBizId", "orderId", "productCode", "skuId"}},
		{Name: verify, Help: "the buyer chooses “Login directly”", Params: []string{"instanceId", "timeStamp"}},
	}
	return slices.DeleteFunc(all, func(e sim.Event) bool { return !s.serves(e.Name) })
}

// serves reports whether the site has an action.
func (s *Simulator) serves(action string) bool {
	switch action {
	case refundRenewInstance, resumeInstance, orderPay:
		return !s.listing.international()
	case createInstance, renewInstance, upgradeInstance, expiredInstance, releaseInstance, verify:
		return true
	}
	return false
}

// Trigger sends one callback once. Parameters that are not the action's own
// are sent as well, the value "-" leaves one out, and a given token is sent as
// it is. An instance that was not bought here is as good as any other.
func (s *Simulator) Trigger(ctx context.Context, event string, params map[string]string) (sim.Attempt, error) {
	if !s.serves(event) {
		return sim.Attempt{}, fmt.Errorf("alibabasim: %q is no event of this site", event)
	}
	s.mu.Lock()
	m := s.compose(event, params)
	s.happens(m)
	s.mu.Unlock()
	return s.sender.Once(ctx, s.delivery(m)), nil
}

// Buy places an order: createInstance is sent and, on the China site,
// orderPay. Parameters override those of createInstance.
func (s *Simulator) Buy(params map[string]string) Instance {
	s.mu.Lock()
	m := s.embellish(s.compose(createInstance, params))
	s.happens(m)
	i := s.find(m.instanceID()).clone()
	pay := s.compose(orderPay, map[string]string{"orderBizId": i.ID})
	s.mu.Unlock()
	s.send(m)
	if s.serves(orderPay) {
		s.send(pay)
	}
	return i
}

// Do does something to an instance and sends the callback. It refuses what
// the marketplace would not offer.
func (s *Simulator) Do(id, action string, params map[string]string) (Instance, error) {
	if !s.serves(action) || action == createInstance || action == orderPay || action == verify {
		return Instance{}, fmt.Errorf("alibabasim: %q cannot be done to an instance", action)
	}
	s.mu.Lock()
	i := s.find(id)
	if i == nil {
		s.mu.Unlock()
		return Instance{}, fmt.Errorf("alibabasim: no instance %q", id)
	}
	if why := i.allows(action, s.cfg.Now()); why != "" {
		s.mu.Unlock()
		return Instance{}, fmt.Errorf("alibabasim: %s of %s: %s", action, id, why)
	}
	given := maps.Clone(params)
	if given == nil {
		given = map[string]string{}
	}
	given["instanceId"] = cmp.Or(i.SellerID, i.ID)
	m := s.embellish(s.compose(action, given))
	s.happens(m)
	after := i.clone()
	s.mu.Unlock()
	s.send(m)
	return after, nil
}

// send delivers m in the background, under faults now and then twice at once.
func (s *Simulator) send(m message) {
	d := s.delivery(m)
	s.sender.Send(d)
	s.mu.Lock()
	twice := s.rnd.Float64() < s.sender.Faults().Repeat/2
	s.mu.Unlock()
	if twice {
		s.sender.Send(d)
	}
}

// embellish adds a parameter that nobody announced to one message in four. The
// caller holds s.mu.
func (s *Simulator) embellish(m message) message {
	if s.rnd.IntN(4) == 0 {
		m.values[unannounced] = "a b+c&d=é %"
	}
	return m
}

// happens applies m to what the marketplace believes. The caller holds s.mu.
func (s *Simulator) happens(m message) {
	i := s.find(m.instanceID())
	if i == nil && m.action == createInstance {
		i = &Instance{
			ID: m.instanceID(), AliUID: m.values["aliUid"], OrderID: m.values["orderId"],
			ProductCode: m.values["productCode"], SKU: m.values["skuId"],
			Trial: m.values["trial"] == "true", Status: Opening, Items: items(m.values),
			CreatedAt: s.cfg.Now().UTC(),
		}
		i.expires(m.values["expiredOn"], s.listing.zone)
		s.instances[i.ID] = i
		s.order = append(s.order, i.ID)
		return
	}
	if i != nil {
		i.happens(m, s.listing.zone, s.cfg.Now())
	}
}

// find returns an instance by our id or by the seller's. The caller holds s.mu.
func (s *Simulator) find(id string) *Instance {
	if i := s.instances[id]; i != nil {
		return i
	}
	for _, i := range s.instances {
		if i.SellerID == id && id != "" {
			return i
		}
	}
	return nil
}

// Instances returns what the marketplace believes, oldest first.
func (s *Simulator) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Instance, len(s.order))
	for n, id := range s.order {
		out[n] = s.instances[id].clone()
	}
	return out
}

// SignIn returns the link that "Login directly" opens in the buyer's browser.
func (s *Simulator) SignIn(id string) (string, error) {
	s.mu.Lock()
	if s.find(id) == nil {
		s.mu.Unlock()
		return "", fmt.Errorf("alibabasim: no instance %q", id)
	}
	m := s.compose(verify, map[string]string{"instanceId": id})
	m.values["instanceId"] = cmp.Or(s.find(id).SellerID, id)
	s.mu.Unlock()
	return s.address(m), nil
}

// SetKey changes the key that callbacks are signed with.
func (s *Simulator) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// Retry sends the production messages again that used up their attempts, as a
// seller does in the back office, and returns how many there were.
func (s *Simulator) Retry() int {
	s.mu.Lock()
	stuck := s.stuck
	s.stuck = nil
	s.mu.Unlock()
	for _, d := range stuck {
		s.sender.Send(d)
	}
	return len(stuck)
}

// nextOrder returns an order id. They grow with time, so that those of several
// runs do too, and have 15 digits. The caller holds s.mu.
func (s *Simulator) nextOrder() string {
	s.lastOrder = max(s.lastOrder+1, s.cfg.Now().UnixMilli()*100)
	return strconv.FormatInt(s.lastOrder, 10)
}

// nextInstance returns an instance id: 10 digits in China, 13 on the
// international site. The caller holds s.mu.
func (s *Simulator) nextInstance() string {
	now := s.cfg.Now().Unix()
	if s.listing.international() {
		now = s.cfg.Now().UnixMilli()
	}
	s.lastInstance = max(s.lastInstance+1, now)
	return strconv.FormatInt(s.lastInstance, 10)
}

// Attempts returns what was delivered so far, oldest first.
func (s *Simulator) Attempts() []sim.Attempt { return s.sender.Attempts() }

// Wait returns when no delivery is under way.
func (s *Simulator) Wait(ctx context.Context) error { return s.sender.Wait(ctx) }

// Close stops all deliveries and waits for them.
func (s *Simulator) Close() error { return s.sender.Close() }
