package alibaba

import (
	"log/slog"
	"strings"
	"testing"

	"cloudsettle/core"
)

func TestMeterNeedsItsConfiguration(t *testing.T) {
	t.Parallel()
	without := func(metering any, credentials bool) core.Meter {
		m := mustOpen(t, func(c map[string]any, _ *core.Settings) {
			c["metering"] = metering
			if credentials {
				c["access_key_id"], c["access_key_secret"] = "ak", "sk"
			}
		})
		return m.Meter
	}
	full := map[string]any{"key": "Unit", "assist": "cmgj00012345-Unit-1", "unit_amount": "0.01"}
	if got := without(full, false); got != nil {
		t.Errorf("Open(no credentials) has a meter %v", got)
	}
	if got := without(map[string]any{}, true); got != nil {
		t.Errorf("Open(no metering) has a meter %v", got)
	}
	if got := without(full, true); got == nil {
		t.Error("Open(all) has no meter")
	}
}

func TestMeteringProblems(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		keys map[string]any
		want string
	}{
		"NoKey":        {map[string]any{"key": ""}, "metering.key:"},
		"NoAmount":     {map[string]any{"unit_amount": ""}, "metering.unit_amount:"},
		"NoAssist":     {map[string]any{"assist": ""}, "metering.assist:"},
		"BothAssists":  {map[string]any{"without_assist": true}, "metering.assist:"},
		"BadAssist":    {map[string]any{"assist": "a b"}, "metering.assist:"},
		"SevenPlaces":  {map[string]any{"unit_amount": "0.0000001"}, "metering.unit_amount:"},
		"Negative":     {map[string]any{"unit_amount": "-0.01"}, "metering.unit_amount:"},
		"Zero":         {map[string]any{"unit_amount": "0.00"}, "metering.unit_amount:"},
		"Exponent":     {map[string]any{"unit_amount": "1e2"}, "metering.unit_amount:"},
		"Cycle":        {map[string]any{"cycle": "monthly"}, "metering.cycle:"},
		"API":          {map[string]any{"api": "2014-01-01"}, "metering.api:"},
		"APIOfOther":   {map[string]any{"api": "2022-12-30"}, "metering.api:"},
		"BatchTooBig":  {map[string]any{"batch": 101}, "metering.batch:"},
		"BatchBelow":   {map[string]any{"batch": -1}, "metering.batch:"},
		"Ambiguous":    {map[string]any{"on_ambiguous": "maybe"}, "metering.on_ambiguous:"},
		"ServerError":  {map[string]any{"on_server_error": "maybe"}, "metering.on_server_error:"},
		"Endpoint":     {map[string]any{"endpoint": "http://api.example.com"}, "metering.endpoint:"},
		"UnknownKey":   {map[string]any{"asist": "x"}, "asist"},
		"OtherKeyOnly": {map[string]any{"key": "", "assist": "", "unit_amount": ""}, "metering.key:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, func(c map[string]any, _ *core.Settings) {
				for k, v := range tc.keys {
					c["metering"].(map[string]any)[k] = v
				}
			})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Open(metering %v) = %v, want it to speak of %s", tc.keys, err, tc.want)
			}
		})
	}
}

func TestMeterEndpoints(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		site, endpoint string
		keys           map[string]any
		want           string
		api            version
	}{
		{"cn", "", nil, "https://market.aliyuncs.com", marketAPI},
		{"intl", "", nil, "https://marketplaceintl.aliyuncs.com", internationalAPI},
		{"intl", "", map[string]any{"api": "2015-11-01"}, "https://market.ap-southeast-1.aliyuncs.com", marketAPI},
		{"intl", "http://127.0.0.1:1", nil, "http://127.0.0.1:1", internationalAPI},
		{"intl", "market.example.com", map[string]any{"endpoint": "intl.example.com"}, "https://intl.example.com", internationalAPI},
	} {
		m := openMeterAt(t, tc.endpoint, merge(tc.keys, map[string]any{"site": tc.site}))
		got := m.endpoint.scheme + "://" + m.endpoint.host
		if api := m.dialect.call(nil).api; got != tc.want || api != tc.api {
			t.Errorf("Open(%s, %q, %v) reports to %s of %v, want %s of %v",
				tc.site, tc.endpoint, tc.keys, got, api, tc.want, tc.api)
		}
	}
}

func merge(a, b map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range []map[string]any{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// Bill lines are truncated to two decimals there, which Open says aloud.
func TestSubCentUnitsAreWarnedAbout(t *testing.T) {
	t.Parallel()
	for amount, want := range map[string]bool{"0.005": true, "0.01": false, "0.011": true, "12": false} {
		var log strings.Builder
		mustOpen(t, func(c map[string]any, s *core.Settings) {
			c["access_key_id"], c["access_key_secret"] = "ak", "sk"
			c["metering"].(map[string]any)["unit_amount"] = amount
			s.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		if got := strings.Contains(log.String(), "truncates"); got != want {
			t.Errorf("Open(unit_amount %s) warned: %t, want %t", amount, got, want)
		}
	}
}
