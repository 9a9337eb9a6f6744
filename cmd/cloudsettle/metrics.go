package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/webhooks"
)

// metrics are what a monitoring system reads.
type metrics struct {
	*prometheus.Registry
	troubles *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{Registry: prometheus.NewRegistry(), troubles: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cloudsettle_metering_alarms_total",
		Help: "Metering records that people were told of, by listing and what is wrong.",
	}, []string{"listing", "alarm"})}
	m.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.troubles)
	return m
}

// count counts troubles; it is core.Alerts.Count.
func (m *metrics) count(l marketplace.ListingID, t metering.Trouble, n int) {
	m.troubles.WithLabelValues(string(l), string(t)).Add(float64(n))
}

// start lets every kind of trouble of a listing begin at zero: the first one is
// then an increase, which alerting rules look for.
func (m *metrics) start(l marketplace.ListingID) {
	for _, t := range metering.Troubles() {
		m.count(l, t, 0)
	}
}

// meterGauges shows how metering is.
type meterGauges struct {
	svc                     *core.Service
	now                     func() time.Time
	records, oldest, health *prometheus.Desc
}

func newMeterGauges(svc *core.Service, now func() time.Time) *meterGauges {
	return &meterGauges{
		svc: svc, now: now,
		records: prometheus.NewDesc("cloudsettle_metering_records",
			"Metering records that are not final, by listing and alarm: calm, warning from half of the window, critical from four fifths.",
			[]string{"listing", "alarm"}, nil),
		oldest: prometheus.NewDesc("cloudsettle_metering_oldest_seconds",
			"Age of the oldest metering record of a listing that is not final; 0 without any.", []string{"listing"}, nil),
		health: prometheus.NewDesc("cloudsettle_metering_subscriptions",
			"Subscriptions by listing and health of their reporting.", []string{"listing", "health"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (g *meterGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.records, g.oldest, g.health} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *meterGauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m := g.svc.Gauges()
	for listing, byAlarm := range m.Records {
		for alarm, n := range byAlarm {
			gauge(g.records, float64(n), string(listing), alarm.String())
		}
		age := 0.0
		if at, ok := m.Oldest[listing]; ok {
			age = g.now().Sub(at).Seconds()
		}
		gauge(g.oldest, age, string(listing))
	}
	for listing, byHealth := range m.Health {
		for health, n := range byHealth {
			gauge(g.health, float64(n), string(listing), string(health))
		}
	}
}

// observer counts callbacks and how long they take.
func observer(r prometheus.Registerer) func(webhooks.Record) {
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cloudsettle_callbacks_total", Help: "Callbacks by listing and what became of them.",
	}, []string{"listing", "outcome"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "cloudsettle_callback_seconds", Help: "Time from the request's arrival to its answer.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"listing"})
	r.MustRegister(count, seconds)
	return func(rec webhooks.Record) {
		count.WithLabelValues(string(rec.Listing), rec.Outcome).Inc()
		seconds.WithLabelValues(string(rec.Listing)).Observe(rec.Duration.Seconds())
	}
}
