package discovery

import (
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"

	"coracle.dev/coracle/apis/resource"
)

// shownEntries is how many ports or addresses a row shows.
const shownEntries = 3

var endpointSliceColumns = []resource.Column[*discoveryv1.EndpointSlice]{
	resource.Name[*discoveryv1.EndpointSlice](),
	resource.Text("AddressType", func(s *discoveryv1.EndpointSlice) any { return string(s.AddressType) }),
	resource.Text("Ports", func(s *discoveryv1.EndpointSlice) any {
		var out []string
		for _, p := range s.Ports {
			switch {
			case p.Port != nil:
				out = append(out, strconv.Itoa(int(*p.Port)))
			default:
				out = append(out, resource.Or(resource.Deref(p.Name), "*"))
			}
		}
		return resource.Or(resource.Shorten(out, shownEntries, ","), resource.Unset)
	}),
	resource.Text("Endpoints", func(s *discoveryv1.EndpointSlice) any {
		var out []string
		for _, e := range s.Endpoints {
			out = append(out, e.Addresses...)
		}
		return resource.Or(resource.Shorten(out, shownEntries, ","), resource.Unset)
	}),
	resource.Age[*discoveryv1.EndpointSlice](),
}
