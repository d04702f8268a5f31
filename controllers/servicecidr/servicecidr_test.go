package servicecidr

import (
	"net/netip"
	"testing"
)

func TestOrphan(t *testing.T) {
	parse := func(texts ...string) (out []netip.Prefix) {
		for _, s := range texts {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	addresses := []string{"10.0.0.1", "10.1.0.1", "fd00::1"}
	for name, tc := range map[string]struct {
		ranges, others []netip.Prefix
		want           string
	}{
		"has an address":                   {parse("10.1.0.0/16"), nil, "10.1.0.1"},
		"has none":                         {parse("10.2.0.0/16"), nil, ""},
		"has one that a larger has too":    {parse("10.1.0.0/16"), parse("10.0.0.0/8"), ""},
		"has one that a smaller has too":   {parse("10.0.0.0/8"), parse("10.1.0.0/16"), "10.0.0.1"},
		"its second family has one":        {parse("10.2.0.0/16", "fd00::/64"), parse("10.0.0.0/8"), "fd00::1"},
		"both families are others' ranges": {parse("10.0.0.0/8", "fd00::/64"), parse("10.0.0.0/8", "fd00::/32"), ""},
	} {
		if got := orphan(addresses, tc.ranges, tc.others); got != tc.want {
			t.Errorf("a range that %s: %q, not %q", name, got, tc.want)
		}
	}
}
