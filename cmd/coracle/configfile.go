package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"maps"
	"sigs.k8s.io/yaml"
)

// applyConfigFile sets the flags that a YAML file names, save those that were given already. A
// list sets a flag once an element.
func applyConfigFile(flags *pflag.FlagSet, path string) error {
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		flag := flags.Lookup(name)
		if flag == nil || flag.Hidden || name == "config" {
			errs = append(errs, fmt.Errorf("%s: there is no flag --%s", path, name))
			continue
		}
		if flag.Changed {
			continue
		}
		if err := flags.Set(name, text(values[name])); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// text is a YAML value as a flag takes it.
func text(value any) string {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	var parts []string
	for _, v := range list {
		parts = append(parts, fmt.Sprint(v))
	}
	return strings.Join(parts, ",")
}
