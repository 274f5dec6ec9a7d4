"""Which sentence says what pydantic found: its error types, mapped to codes of the catalogue.

Several types are one thing to a person: "12x", [12] and None are all no whole number. A type that is not
listed, from a pydantic that is newer than this file, is said in general words; a test lists the types of the
installed one.
"""

from __future__ import annotations

__all__ = ["KINDS", "LIMITS"]

_BY_CODE: dict[str, str] = {
    "missing": "missing missing_argument missing_keyword_only_argument missing_positional_only_argument",
    "unknown_field": "extra_forbidden unexpected_keyword_argument unexpected_positional_argument",
    "given_twice": "multiple_argument_values",
    "must_be_empty": "none_required missing_sentinel_error",
    "key_not_text": "invalid_key",
    "not_text": "string_type string_sub_type bytes_type",
    "text_broken": "string_unicode bytes_invalid_encoding",
    "text_plain_letters": "string_not_ascii",
    "text_too_short": "string_too_short bytes_too_short",
    "text_too_long": "string_too_long bytes_too_long url_too_long",
    "text_form": "string_pattern_mismatch",
    "not_choice": "enum literal_error union_tag_invalid union_tag_not_found",
    "not_yes_no": "bool_type bool_parsing",
    "not_whole_number": "int_type int_parsing int_from_float",
    "number_too_long": "int_parsing_size decimal_whole_digits",
    "not_number": (
        "float_type float_parsing decimal_type decimal_parsing complex_type complex_str_parsing "
        "fraction_type fraction_parsing byte_size byte_size_unit"
    ),
    "not_finite": "finite_number",
    "too_small": "greater_than_equal",
    "too_small_above": "greater_than",
    "too_big": "less_than_equal",
    "too_big_below": "less_than",
    "not_multiple": "multiple_of",
    "too_many_digits": "decimal_max_digits",
    "too_many_decimals": "decimal_max_places",
    "too_few_items": "too_short",
    "too_many_items": "too_long",
    "not_list": ("list_type tuple_type set_type frozen_set_type deque_type iterable_type iteration_error sequence_str"),
    "not_date": "date_type date_parsing date_from_datetime_parsing date_from_datetime_inexact",
    "not_past": "date_past datetime_past",
    "not_future": "date_future datetime_future",
    "not_time": "time_type time_parsing",
    "not_datetime": "datetime_type datetime_parsing datetime_object_invalid datetime_from_date_parsing",
    "datetime_no_zone": "timezone_aware",
    "datetime_zone": "timezone_naive timezone_offset",
    "not_duration": "time_delta_type time_delta_parsing",
    "not_link": "url_type url_parsing url_syntax_violation url_scheme",
    "not_code": (
        "uuid_type uuid_parsing uuid_version base64_decode payment_card_number_digits "
        "payment_card_number_luhn payment_card_number_brand"
    ),
    "not_parts": (
        "model_type model_attributes_type dataclass_type dataclass_exact_type dict_type mapping_type "
        "ordered_dict_type frozen_dict_type counter_type named_tuple_type arguments_type "
        "get_attribute_error no_such_attribute"
    ),
    "unreadable": "json_invalid json_type needs_python_object",
    "too_deep": "recursion_loop recursion_depth_exceeded",
    "not_usable": (
        "frozen_field frozen_instance is_instance_of is_subclass_of callable_type set_item_not_hashable "
        "ellipsis_error default_factory_not_called value_error assertion_error color_error import_error "
        "predicate_failed not_operation_failed zoneinfo_str path_type path_exists path_not_file "
        "path_not_directory path_not_socket parent_does_not_exist pattern_type pattern_str_type "
        "pattern_bytes_type pattern_regex ip_any_address ip_any_interface ip_any_network ip_v4_address "
        "ip_v4_interface ip_v4_network ip_v6_address ip_v6_interface ip_v6_network"
    ),
}

#: pydantic's error type → code.
KINDS: dict[str, str] = {kind: code for code, kinds in _BY_CODE.items() for kind in kinds.split()}

#: Names in pydantic's error context → places in our sentences.
LIMITS: dict[str, str] = {
    "min_length": "n",
    "max_length": "n",
    "max_digits": "n",
    "decimal_places": "n",
    "whole_digits": "n",
    "gt": "limit",
    "ge": "limit",
    "lt": "limit",
    "le": "limit",
    "multiple_of": "limit",
}
