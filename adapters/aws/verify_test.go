package aws_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/adapters/aws"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// authority issues signing certificates.
type authority struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

// keys are slow to make, so all tests share two.
var testKeys = sync.OnceValues(func() (*rsa.PrivateKey, *rsa.PrivateKey) {
	a, errA := rsa.GenerateKey(rand.Reader, 2048)
	b, errB := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(errA, errB); err != nil {
		panic(err)
	}
	return a, b
})

func newAuthority(t testing.TB) authority {
	t.Helper()
	key, _ := testKeys()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Root"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(9, 0, 0),
		KeyUsage: x509.KeyUsageCertSign,
	}
	return authority{key, parse(t, issue(t, template, template, key, &key.PublicKey))}
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// leaf issues a certificate for the second key, valid around at.
func (a authority) leaf(t testing.TB, change func(*x509.Certificate)) []byte {
	t.Helper()
	_, key := testKeys()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "sns.amazonaws.com"},
		DNSNames: []string{"sns.amazonaws.com"}, NotBefore: at.AddDate(0, -1, 0), NotAfter: at.AddDate(0, 1, 0),
	}
	if change != nil {
		change(template)
	}
	return issue(t, template, a.cert, a.key, &key.PublicKey)
}

func issue(t testing.TB, template, parent *x509.Certificate, key *rsa.PrivateKey, public any) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func parse(t testing.TB, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// notification is a message of a legacy topic.
func notification() map[string]string {
	return map[string]string{
		"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
		"TopicArn":  topicPrefix + "subscription-notification-" + productCode,
		"Message":   `{"action":"subscribe-success","customer-identifier":"X01EXAMPLEX","product-code":"` + productCode + `"}`,
		"Timestamp": "2022-07-28T21:23:58.317Z", "SignatureVersion": "2", "SigningCertURL": ownCertURL,
	}
}

// sign signs m with the second key and returns it as a body.
func sign(t testing.TB, m map[string]string) string {
	t.Helper()
	var text strings.Builder
	for _, k := range []string{
		"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
	} {
		if v, ok := m[k]; ok {
			text.WriteString(k + "\n" + v + "\n")
		}
	}
	_, key := testKeys()
	hash, sum := crypto.SHA256, sha256.Sum256([]byte(text.String()))
	digest := sum[:]
	if m["SignatureVersion"] == "1" {
		weak := sha1.Sum([]byte(text.String()))
		hash, digest = crypto.SHA1, weak[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(signature)
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestVectorsHoldOnlyAsPublished(t *testing.T) {
	t.Parallel()
	m, _ := market(t, nil)
	for i := 1; i <= 3; i++ {
		cb := readFixture(t, fmt.Sprintf("sns-vector-%d", i))
		var v map[string]any
		if err := json.Unmarshal(cb.Body, &v); err != nil {
			t.Fatal(err)
		}
		other := map[string]string{"1": "2", "2": "1"}[v["SignatureVersion"].(string)]
		for name, change := range map[string]func(map[string]any){
			"another version":    func(v map[string]any) { v["SignatureVersion"] = other },
			"version 3":          func(v map[string]any) { v["SignatureVersion"] = "3" },
			"no version":         func(v map[string]any) { delete(v, "SignatureVersion") },
			"another message":    func(v map[string]any) { v["Message"] = "Hello world\n" },
			"a subject":          func(v map[string]any) { v["Subject"] = "Hello" },
			"an empty subject":   func(v map[string]any) { v["Subject"] = "" },
			"no subject":         func(v map[string]any) { delete(v, "Subject"); v["Message"] = "x" },
			"no signature":       func(v map[string]any) { v["Signature"] = "" },
			"a spaced signature": func(v map[string]any) { v["Signature"] = v["Signature"].(string) + "\n" },
			"another type":       func(v map[string]any) { v["Type"] = "UnsubscribeConfirmation" },
		} {
			changed := map[string]any{}
			for k, val := range v {
				changed[k] = val
			}
			change(changed)
			body, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Adapter.Receive(t.Context(), push(string(body), nil)); !errors.Is(err, core.ErrUnverified) {
				t.Errorf("vector %d with %s: Receive() = %v, want ErrUnverified", i, name, err)
			}
		}
	}
}

// hostile are URLs that only look as if they led to SNS.
func hostile() []string {
	const file = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	urls := []string{
		"", " ", "/", "//", "null", "sns.us-east-1.amazonaws.com" + file, "http:" + file, "https://" + file,
		"https://sns.us-east-1.amazonaws.com/x.pem",
		"https://sns.us-east-1.amazonaws.com/x.txt",
		"https://sns.us-east-1.amazonaws.com/",
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-.pem",
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123.pem.txt",
		"https://sns.us-east-1.amazonaws.com/../SimpleNotificationService-0123.pem",
		"https://sns.us-east-1.amazonaws.com/a" + file,
		"https://sns.us-east-1.amazonaws.com" + file + "/",
		"https://sns.us-east-1.amazonaws.com" + file + "?x=1",
		"https://sns.us-east-1.amazonaws.com" + file + "#.pem",
		"https://sns.us-east-1.amazonaws.com" + file + "\n",
		"https://sns.us-east-1.amazonaws.com" + file + "\x00",
		" https://sns.us-east-1.amazonaws.com" + file,
		"https://sns.us-east-1.amazonaws.com" + file + " ",
		"https://sns.us-east-1.amazonaws.com%2f@evil.example.com" + file,
		"https:/sns.us-east-1.amazonaws.com" + file,
		"https:\\\\sns.us-east-1.amazonaws.com" + file,
		"https://sns.us-east-1.amazonaws.com\\@evil.example.com" + file,
		"https://evil.example.com\\@sns.us-east-1.amazonaws.com" + file,
		"https://sns.us-east-1.amazonaws.com,evil.example.com" + file,
		"https://sns.us-east-1.amazonaws.com;evil.example.com" + file,
	}
	for _, host := range []string{
		"evil.example.com", "sns.us-east-1.amazonaws.com.evil.example.com", "sns.us-east-1.amazonaws.com@evil.example.com",
		"evil.example.com/sns.us-east-1.amazonaws.com", "user:pw@sns.us-east-1.amazonaws.com",
		"sns.us-east-1.amazonaws.com:8443", "sns.us-east-1.amazonaws.com:443", "sns.us-east-1.amazonaws.com:",
		"sns.us-east-1.amazonaws.com.", "sns.us-east-1.amazonaws.org", "sns.us-east-1.amazonaws.com.cn.evil.example.com",
		"sns.us-east-1.evilamazonaws.com", "sns.us-east-1.amazonaws.community", "snsxus-east-1.amazonaws.com",
		"sns.us-east-1xamazonaws.com", "sns.us-east-1.amazonawsxcom", "sns..amazonaws.com", "sns.a.amazonaws.com",
		"sns.amazonaws.com", "amazonaws.com", "mybucket.s3.amazonaws.com", "sns.s3.us-east-1.amazonaws.com",
		"sns.evil.us-east-1.amazonaws.com", "sns_us-east-1.amazonaws.com", "xsns.us-east-1.amazonaws.com",
		"sns.us_east_1.amazonaws.com", "sns.us%2deast%2d1.amazonaws.com", "sns.us-east-1.amazonaws.com%00.evil.example.com",
		"sns.us-east-1.amazonaws.com%23@evil.example.com", "sns.us-east-1.amazonaws.com#@evil.example.com",
		"sns.us-east-1.amazonaws.com?@evil.example.com", "sns.еast.amazonaws.com", "sns.us-east-1。amazonaws。com",
		"127.0.0.1", "127.0.0.1:8080", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1",
		"169.254.169.254", "169.254.169.254/latest/meta-data", "metadata.google.internal", "instance-data",
		"10.0.0.1", "192.168.1.1", "kubernetes.default.svc", "sns.us-east-1.amazonaws.com\t", "sns.us-east-1\r\n.amazonaws.com",
	} {
		urls = append(urls, "https://"+host+file)
	}
	for _, scheme := range []string{
		"http", "HTTPS", "Https", "ftp", "file", "gopher", "ldap", "dict", "jar:https", "data", "javascript", "unix", "ws",
	} {
		urls = append(urls, scheme+"://sns.us-east-1.amazonaws.com"+file)
	}
	return urls
}

func TestNothingIsFetchedFromHostileCertURLs(t *testing.T) {
	t.Parallel()
	m, w := market(t, nil)
	urls := hostile()
	if len(urls) < 60 {
		t.Fatalf("only %d hostile URLs", len(urls))
	}
	for _, u := range urls {
		msg := notification()
		msg["SigningCertURL"] = u
		_, err := m.Adapter.Receive(t.Context(), push(sign(t, msg), nil))
		if !errors.Is(err, core.ErrUnverified) {
			t.Errorf("SigningCertURL %q: Receive() = %v, want ErrUnverified", u, err)
		}
	}
	if n := w.hits.Load(); n != 0 {
		t.Errorf("%d connections were made, want none", n)
	}
}

func TestNothingIsFetchedFromHostileSubscribeURLs(t *testing.T) {
	t.Parallel()
	m, w := ownMarket(t, nil, nil)
	receive(t, m, push(sign(t, notification()), nil)) // fetches the certificate
	before := w.hits.Load()
	topic := notification()["TopicArn"]
	query := "?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=t0ken"
	urls := []string{
		"https://sns.us-east-1.amazonaws.com/",
		"https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&TopicArn=" + topic + "&Token=t0ken",
		"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "2&Token=t0ken",
		"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=another",
		"https://sns.us-east-1.amazonaws.com/" + query + "&Token=t0ken",
		"https://sns.us-east-1.amazonaws.com/" + query + "&AuthenticateOnUnsubscribe=true",
		"https://sns.us-east-1.amazonaws.com/" + query + "#x",
		"https://sns.us-east-1.amazonaws.com/x" + query,
		"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=%zz",
		"https://169.254.169.254/" + query, "http://127.0.0.1:8080/" + query, "https://evil.example.com/" + query,
	}
	for _, u := range hostile() {
		urls = append(urls, u, strings.Replace(u, "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem", "/"+query, 1))
	}
	for _, u := range urls {
		if strings.HasPrefix(u, "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="+topic+"&Token=t0ken") &&
			!strings.Contains(u, "&Token=t0ken&") && !strings.HasSuffix(u, "#x") {
			continue // this one is right
		}
		msg := notification()
		msg["Type"], msg["Token"], msg["SubscribeURL"] = "SubscriptionConfirmation", "t0ken", u
		_, err := m.Adapter.Receive(t.Context(), push(sign(t, msg), nil))
		if !errors.Is(err, core.ErrUnverified) {
			t.Errorf("SubscribeURL %q: Receive() = %v, want ErrUnverified", u, err)
		}
	}
	if n := w.hits.Load() - before; n != 0 {
		t.Errorf("%d connections were made, want none", n)
	}
}

func TestConfirmationVisitsSNSOnce(t *testing.T) {
	t.Parallel()
	m, w := ownMarket(t, nil, nil)
	receive(t, m, push(sign(t, notification()), nil))
	before := w.hits.Load()
	msg := notification()
	msg["Type"], msg["Token"] = "SubscriptionConfirmation", "t0ken"
	msg["SubscribeURL"] = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + msg["TopicArn"] + "&Token=t0ken"
	if ev := receive(t, m, push(sign(t, msg), nil)); ev.Kind != marketplace.Noted || ev.Delivery == "" {
		t.Errorf("Receive(confirmation) = %+v, want a noted event with its id", ev)
	}
	if n := w.hits.Load() - before; n != 1 {
		t.Errorf("SNS was visited %d times, want once", n)
	}
	msg["Type"] = "UnsubscribeConfirmation"
	receive(t, m, push(sign(t, msg), nil))
	if n := w.hits.Load() - before; n != 1 {
		t.Errorf("an UnsubscribeConfirmation visited SNS, which subscribes again")
	}
}

// ownMarket opens a listing that trusts a test authority; cert is the file
// behind ownCertURL, by default a good one.
func ownMarket(t testing.TB, change map[string]any, cert []byte) (core.Marketplace, *web) {
	t.Helper()
	root := newAuthority(t)
	if cert == nil {
		cert = root.leaf(t, nil)
	}
	w := &web{pages: map[string][]byte{ownCertURL: cert}}
	m, err := aws.OpenWith(settings(t, change), w, root.pool())
	if err != nil {
		t.Fatal(err)
	}
	return m, w
}

func TestSigningCertificates(t *testing.T) {
	t.Parallel()
	root, stranger := newAuthority(t), newAuthority(t)
	full := map[string]any{"signing_cert_chain": "full"}
	_, key := testKeys()
	for name, c := range map[string]struct {
		cert   []byte
		config map[string]any
		want   error
	}{
		"of a known authority":            {root.leaf(t, nil), full, nil},
		"alone, issuer not at hand":       {foreignLeaf(t, nil), nil, nil},
		"alone, chain required":           {foreignLeaf(t, nil), full, core.ErrUnverified},
		"with a chain that leads nowhere": {append(foreignLeaf(t, nil), issuePEM(t, stranger.cert)...), nil, core.ErrUnverified},
		"of another name":                 {root.leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"example.com"} }), nil, core.ErrUnverified},
		"of another name, alone":          {foreignLeaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"s3.amazonaws.com"} }), nil, core.ErrUnverified},
		"expired":                         {root.leaf(t, func(c *x509.Certificate) { c.NotAfter = at.Add(-time.Second) }), nil, core.ErrUnverified},
		"expired, alone":                  {foreignLeaf(t, func(c *x509.Certificate) { c.NotAfter = at.Add(-time.Second) }), nil, core.ErrUnverified},
		"not yet valid":                   {root.leaf(t, func(c *x509.Certificate) { c.NotBefore = at.Add(time.Hour) }), nil, core.ErrUnverified},
		"no certificate":                  {[]byte("<html>"), nil, core.ErrUnverified},
		"empty":                           {[]byte{}, nil, core.ErrUnverified},
		"a key":                           {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)}), nil, core.ErrUnverified},
		"too large":                       {append(root.leaf(t, nil), make([]byte, 64<<10)...), nil, core.ErrUnverified},
	} {
		m, _ := ownMarket(t, c.config, c.cert)
		_, err := m.Adapter.Receive(t.Context(), push(sign(t, notification()), nil))
		if !errors.Is(err, c.want) {
			t.Errorf("a certificate %s: Receive() = %v, want %v", name, err, c.want)
		}
	}
}

func issuePEM(t testing.TB, cert *x509.Certificate) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// foreignLeaf issues a leaf below an authority that nobody trusts.
func foreignLeaf(t testing.TB, change func(*x509.Certificate)) []byte {
	t.Helper()
	_, key := testKeys()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "Strange Intermediate"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(9, 0, 0),
	}
	strange := authority{key, parse(t, issue(t, template, template, key, &key.PublicKey))}
	return strange.leaf(t, change)
}

func TestCertificateIsFetchedOnceAndNotTrustedForEver(t *testing.T) {
	t.Parallel()
	root, now := newAuthority(t), at
	w := &web{pages: map[string][]byte{ownCertURL: root.leaf(t, nil)}}
	s := settings(t, nil)
	s.Now = func() time.Time { return now }
	m, err := aws.OpenWith(s, w, root.pool())
	if err != nil {
		t.Fatal(err)
	}
	body := sign(t, notification())
	for range 5 {
		receive(t, m, push(body, nil))
	}
	if n := w.hits.Load(); n != 1 {
		t.Errorf("the certificate was fetched %d times, want once", n)
	}
	if _, err := m.Adapter.Receive(t.Context(), push(strings.Replace(body, "X01EXAMPLEX", "X02EXAMPLEX", 1), nil)); err == nil {
		t.Error("a forged message passes once the certificate is known")
	}
	now = at.Add(25 * time.Hour)
	receive(t, m, push(body, nil))
	if n := w.hits.Load(); n != 2 {
		t.Errorf("after a day the certificate was fetched %d times, want twice", n)
	}
	now = at.AddDate(0, 2, 0)
	if _, err := m.Adapter.Receive(t.Context(), push(body, nil)); !errors.Is(err, core.ErrUnverified) {
		t.Errorf("an expired certificate: Receive() = %v, want ErrUnverified", err)
	}
}

// broken is an SNS that cannot be reached, or answers strangely.
type broken func(*http.Request) (*http.Response, error)

func (b broken) RoundTrip(r *http.Request) (*http.Response, error) { return b(r) }

func answerWith(status int, header http.Header) broken {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
	}
}

func TestOutageOfSNSIsRetriedAndRefusalIsNot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sns  broken
		want error
	}{
		"no connection": {func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, core.ErrUnavailable},
		"500":           {answerWith(http.StatusInternalServerError, nil), core.ErrUnavailable},
		"429":           {answerWith(http.StatusTooManyRequests, nil), core.ErrUnavailable},
		"404":           {answerWith(http.StatusNotFound, nil), core.ErrUnverified},
		"a redirect":    {answerWith(http.StatusFound, http.Header{"Location": {"https://evil.example.com/x.pem"}}), core.ErrUnverified},
	} {
		visits := 0
		m, err := aws.OpenWith(settings(t, nil), broken(func(r *http.Request) (*http.Response, error) {
			visits++
			return c.sns(r)
		}), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Adapter.Receive(t.Context(), push(sign(t, notification()), nil))
		if !errors.Is(err, c.want) || visits != 1 {
			t.Errorf("SNS with %s: Receive() = %v after %d visits, want %v after 1", name, err, visits, c.want)
		}
	}
}

func TestLineBreaksCannotMoveBetweenFields(t *testing.T) {
	t.Parallel()
	m, _ := ownMarket(t, nil, nil)
	for _, field := range []string{"MessageId", "Timestamp"} {
		msg := notification()
		msg[field] = "x\nTimestamp\n2022-07-28T21:23:58.317Z"
		if _, err := m.Adapter.Receive(t.Context(), push(sign(t, msg), nil)); !errors.Is(err, core.ErrUnverified) {
			t.Errorf("a line break in %s: Receive() = %v, want ErrUnverified", field, err)
		}
	}
}

func TestEmptyEventKeyRefusesAll(t *testing.T) {
	t.Parallel()
	m, _ := market(t, map[string]any{"event_api_key": ""})
	body := string(readFixture(t, "bus-license-updated").Body)
	for _, keys := range [][]string{{""}, {"example-event-key"}, {}} {
		_, err := m.Adapter.Receive(t.Context(), push(body, http.Header{"X-Api-Key": keys}))
		if !errors.Is(err, core.ErrUnverified) {
			t.Errorf("keys %q against none: Receive() = %v, want ErrUnverified", keys, err)
		}
	}
}

func TestPreviousEventKeyHoldsDuringChange(t *testing.T) {
	t.Parallel()
	m, _ := market(t, map[string]any{"event_api_key": "new", "event_api_key_previous": "example-event-key"})
	body := string(readFixture(t, "bus-license-updated").Body)
	for key, want := range map[string]error{"new": nil, "example-event-key": nil, "older": core.ErrUnverified} {
		_, err := m.Adapter.Receive(t.Context(), push(body, http.Header{"X-Api-Key": {key}}))
		if !errors.Is(err, want) {
			t.Errorf("key %q: Receive() = %v, want %v", key, err, want)
		}
	}
}
