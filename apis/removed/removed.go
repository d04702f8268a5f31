package removed

import (
	"encoding/json"
	"fmt"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is a kind of a removed version.
type Kind struct {
	Version schema.GroupVersion
	// Current is the resource that the objects are stored as.
	Current schema.GroupResource

	convert func(*runtime.Scheme) error
	// defaults registers the old defaults, followed by those of the successor.
	defaults func(s *runtime.Scheme, successor func(runtime.Object))
}

// AddTo registers conversions and defaults; successor fills in the defaults of the current version. The
// types of both versions are in the scheme already.
func (k Kind) AddTo(s *runtime.Scheme, successor func(runtime.Object)) error {
	if err := k.convert(s); err != nil {
		return fmt.Errorf("adding conversions of %s %s: %w", k.Version, k.Current.Resource, err)
	}
	k.defaults(s, successor)
	return nil
}

// object is a pointer to the API type T.
type object[T any] interface {
	*T
	runtime.Object
	metav1.Object
}

// rules are what a kind has of its own; each may be nil.
type rules[O, C any] struct {
	// defaults fills in what the old version fills in otherwise than the current one.
	defaults func(*O)
	// to and from convert what differs in shape; the rest is done.
	to   func(old *O, current *C)
	from func(current *C, old *O)
}

// kind declares that objects O, in lists OL, are served for objects C, in lists CL.
func kind[O, OL, C, CL any, OP object[O], CP object[C]](gv schema.GroupVersion, current schema.GroupResource, r rules[O, C]) Kind {
	to := func(old *O, now *C) error {
		if err := copyJSON(old, now); err != nil {
			return err
		}
		CP(now).GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		if r.to != nil {
			r.to(old, now)
		}
		return nil
	}
	from := func(now *C, old *O) error {
		if err := copyJSON(now, old); err != nil {
			return err
		}
		OP(old).GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		if r.from != nil {
			r.from(now, old)
		}
		return nil
	}
	return Kind{
		Version: gv, Current: current,
		convert: func(s *runtime.Scheme) error {
			for _, add := range []func() error{
				func() error { return register(s, to) },
				func() error { return register(s, from) },
				func() error { return register(s, list[OL, CL](to)) },
				func() error { return register(s, list[CL, OL](from)) },
			} {
				if err := add(); err != nil {
					return err
				}
			}
			return nil
		},
		defaults: func(s *runtime.Scheme, successor func(runtime.Object)) {
			s.AddTypeDefaultingFunc(OP(new(O)), func(o any) {
				old := o.(*O)
				if r.defaults != nil {
					r.defaults(old)
				}
				gvk := OP(old).GetObjectKind().GroupVersionKind()
				now, filled := new(C), new(O)
				if to(old, now) != nil {
					return // what cannot be converted is refused where it is
				}
				successor(CP(now))
				if from(now, filled) == nil {
					*old = *filled
					OP(old).GetObjectKind().SetGroupVersionKind(gvk)
				}
			})
		},
	}
}

func register[A, B any](s *runtime.Scheme, f func(*A, *B) error) error {
	return s.AddConversionFunc((*A)(nil), (*B)(nil), func(in, out any, _ conversion.Scope) error {
		return f(in.(*A), out.(*B))
	})
}

// list converts a list item by item.
func list[AL, BL, A, B any](item func(*A, *B) error) func(*AL, *BL) error {
	return func(in *AL, out *BL) error {
		from, to := reflect.ValueOf(in).Elem(), reflect.ValueOf(out).Elem()
		to.FieldByName("ListMeta").Set(from.FieldByName("ListMeta"))
		items := from.FieldByName("Items")
		converted := make([]B, items.Len())
		for i := range converted {
			if err := item(items.Index(i).Addr().Interface().(*A), &converted[i]); err != nil {
				return err
			}
		}
		to.FieldByName("Items").Set(reflect.ValueOf(converted))
		return nil
	}
}

// copyJSON makes out what in is, as far as their fields have the same names.
func copyJSON[A, B any](in *A, out *B) error {
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("converting %T: %w", in, err)
	}
	*out = *new(B)
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("converting %T to %T: %w", in, out, err)
	}
	return nil
}
