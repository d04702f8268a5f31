package apiserver

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

type lazyTypes func() managedfields.TypeConverter

func (c CompletedConfig) typeConverter() managedfields.TypeConverter {
	return lazyTypes(sync.OnceValue(func() managedfields.TypeConverter { return applyconfigurations.NewTypeConverter(c.Scheme) }))
}

func (l lazyTypes) ObjectToTyped(o runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	return l().ObjectToTyped(o, opts...)
}

func (l lazyTypes) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	return l().TypedToObject(v)
}
