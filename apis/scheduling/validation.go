package scheduling

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// The system's own classes lie above all that users may make.
const (
	highestUserPriority = 1000000000
	systemPrefix        = "system-"
)

var systemClasses = map[string]int32{
	"system-node-critical":    2*highestUserPriority + 1000,
	"system-cluster-critical": 2 * highestUserPriority,
}

func validatePriorityClass(c *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(c.Name, systemPrefix) {
		value, known := systemClasses[c.Name]
		switch {
		case !known:
			errs = append(errs, reserved(c.Name, fmt.Sprintf("%s is not a known system priority class", c.Name)))
		case value != c.Value:
			errs = append(errs, reserved(c.Name, fmt.Sprintf("value of %s PriorityClass must be %d", c.Name, value)))
		case c.GlobalDefault:
			errs = append(errs, reserved(c.Name, fmt.Sprintf("globalDefault of %s PriorityClass must be false", c.Name)))
		}
	} else if c.Value > highestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"), fmt.Sprintf("maximum allowed value of a user defined priority is %v", highestUserPriority)))
	}
	if p := c.PreemptionPolicy; p != nil {
		errs = append(errs, resource.Supported(field.NewPath("preemptionPolicy"), *p, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return errs
}

func reserved(name, why string) *field.Error {
	return field.Forbidden(field.NewPath("metadata", "name"),
		fmt.Sprintf("priority class names with '%s' prefix are reserved for system use only. error: %s", systemPrefix, why))
}

// validatePriorityClassUpdate: pods have taken the value over, so it stays.
func validatePriorityClassUpdate(c, old *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if c.Value != old.Value {
		errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
	}
	return append(errs, resource.Unchanged(field.NewPath("preemptionPolicy"), c.PreemptionPolicy, old.PreemptionPolicy)...)
}
