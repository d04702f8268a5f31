package scrapeapi

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/labels"
)

// series is one line of what a pod publishes.
type series struct {
	labels labels.Set
	value  float64
}

// page is what a pod published at one time, by name.
type page struct {
	at       time.Time
	gauges   map[string][]series
	counters map[string][]series
}

func parse(text io.Reader, at time.Time) (*page, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	p := &page{at: at, gauges: map[string][]series{}, counters: map[string][]series{}}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			s := series{labels: labels.Set{}}
			for _, l := range m.GetLabel() {
				s.labels[l.GetName()] = l.GetValue()
			}
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				s.value = m.GetCounter().GetValue()
				p.counters[name] = append(p.counters[name], s)
			case dto.MetricType_GAUGE:
				s.value = m.GetGauge().GetValue()
				p.gauges[name] = append(p.gauges[name], s)
			case dto.MetricType_UNTYPED:
				s.value = m.GetUntyped().GetValue()
				p.gauges[name] = append(p.gauges[name], s)
			}
		}
	}
	return p, nil
}

// pair are the last two pages of a pod.
type pair struct{ before, after *page }

// find returns the series of a metric that a selector chooses, counters per second, and the time over which those
// were measured. Of a counter without an earlier page nothing is known yet.
func (p pair) find(metric string, selector labels.Selector) (found []series, window time.Duration, counter bool) {
	if list := p.after.gauges[metric]; len(list) > 0 {
		return choose(list, selector), 0, false
	}
	name := metric
	list := p.after.counters[name]
	if len(list) == 0 {
		name = metric + "_total"
		list = p.after.counters[name]
	}
	if len(list) == 0 {
		return nil, 0, false
	}
	if p.before == nil {
		return nil, 0, true
	}
	window = p.after.at.Sub(p.before.at)
	old := map[string]float64{}
	for _, s := range p.before.counters[name] {
		old[s.labels.String()] = s.value
	}
	for _, s := range choose(list, selector) {
		grown := s.value - old[s.labels.String()]
		if grown < 0 {
			grown = s.value // it began anew
		}
		found = append(found, series{s.labels, grown / window.Seconds()})
	}
	return found, window, true
}

func choose(list []series, selector labels.Selector) []series {
	var out []series
	for _, s := range list {
		if selector.Matches(s.labels) && !math.IsNaN(s.value) && !math.IsInf(s.value, 0) {
			out = append(out, s)
		}
	}
	return out
}

func sum(list []series) (total float64) {
	for _, s := range list {
		total += s.value
	}
	return total
}

// publishes tells whether a pod says that it publishes metrics.
func publishes(annotations map[string]string) bool {
	return strings.EqualFold(annotations["prometheus.io/scrape"], "true")
}
