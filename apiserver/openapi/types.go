package openapi

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// TypesFile is the name, below data, of the schemas that server-side apply merges by.
const TypesFile = "types.gob.gz"

// register tells gob what the default values in the schemas may be made of.
var register = sync.OnceFunc(func() {
	gob.Register(map[string]any{})
	gob.Register([]any{})
})

// EncodeTypes writes the schemas as TypesFile holds them, before packing.
func EncodeTypes(types []smdschema.TypeDef) ([]byte, error) {
	register()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(types); err != nil {
		return nil, fmt.Errorf("encoding types: %w", err)
	}
	return b.Bytes(), nil
}

// lazyTypes reads the schemas when the first object is written.
type lazyTypes func() (managedfields.TypeConverter, error)

// Types returns the converter that server-side apply and field ownership work with.
func Types(scheme *runtime.Scheme) managedfields.TypeConverter {
	return lazyTypes(sync.OnceValues(func() (managedfields.TypeConverter, error) {
		b, err := unpack(TypesFile)
		if err != nil {
			return nil, err
		}
		register()
		var types []smdschema.TypeDef
		if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&types); err != nil {
			return nil, fmt.Errorf("decoding types: %w", err)
		}
		parser := &typed.Parser{Schema: smdschema.Schema{Types: types}}
		return managedfields.NewSchemeTypeConverter(scheme, parser), nil
	}))
}

// ObjectToTyped implements managedfields.TypeConverter.
func (l lazyTypes) ObjectToTyped(o runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	c, err := l()
	if err != nil {
		return nil, err
	}
	return c.ObjectToTyped(o, opts...)
}

// TypedToObject implements managedfields.TypeConverter.
func (l lazyTypes) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	c, err := l()
	if err != nil {
		return nil, err
	}
	return c.TypedToObject(v)
}
