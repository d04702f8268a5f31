package nodeipam

import (
	"net/netip"
	"testing"
)

func TestNext(t *testing.T) {
	for _, tc := range []struct {
		name, cluster string
		bits          int
		used          []string
		want          string
	}{
		{"the first", "10.244.0.0/16", 24, nil, "10.244.0.0/24"},
		{"after those in use", "10.244.0.0/16", 24, []string{"10.244.1.0/24", "10.244.0.0/24"}, "10.244.2.0/24"},
		{"in a gap", "10.244.0.0/16", 24, []string{"10.244.0.0/24", "10.244.2.0/24"}, "10.244.1.0/24"},
		{"after a larger one", "10.244.0.0/16", 24, []string{"10.244.0.0/22"}, "10.244.4.0/24"},
		{"after a smaller one", "10.244.0.0/16", 24, []string{"10.244.0.128/26"}, "10.244.1.0/24"},
		{"others do not matter", "10.244.0.0/16", 24, []string{"10.243.0.0/24", "fd00::/64"}, "10.244.0.0/24"},
		{"the last", "10.244.0.0/23", 24, []string{"10.244.0.0/24"}, "10.244.1.0/24"},
		{"none left", "10.244.0.0/23", 24, []string{"10.244.0.0/24", "10.244.1.0/24"}, ""},
		{"the end of all addresses", "255.255.255.0/24", 24, []string{"255.255.255.0/24"}, ""},
		{"twice the same", "10.244.0.0/16", 24, []string{"10.244.0.0/24", "10.244.0.0/24"}, "10.244.1.0/24"},
		{"IPv6", "fd00::/48", 64, []string{"fd00::/64"}, "fd00:0:0:1::/64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var used []netip.Prefix
			for _, u := range tc.used {
				used = append(used, netip.MustParsePrefix(u))
			}
			got, free := next(netip.MustParsePrefix(tc.cluster), tc.bits, used)
			text := ""
			if free {
				text = got.String()
			}
			if text != tc.want {
				t.Errorf("got %q, want %q", text, tc.want)
			}
		})
	}
}
