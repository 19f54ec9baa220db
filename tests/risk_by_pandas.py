"""The figures of a risk report and of information loss, computed once more: by pandas, from the definitions, slowly."""

import json
import math

import numpy as np
import pandas as pd


def figures(table, quasi, *, population=None, units=None):
    """Class figures of a frame; `population`: its stated size, for a table of `units` people (rows where None)."""
    groups = table.groupby(quasi, dropna=False, sort=False)
    sizes = groups.size()
    of_row = groups[quasi[0]].transform("size")
    own = 1 / of_row
    found = {
        "rows": len(table),
        "classes": len(sizes),
        "k": int(sizes.min()) if len(sizes) else 0,
        "uniques": int((of_row == 1).sum()),
        "highest": own.max(),
        "average": own.mean(),
        "above": lambda threshold: int((own > threshold + 1e-12).sum()),
        "band": lambda least, most: int(((sizes >= least) & (sizes <= (most or math.inf))).sum()),
    }
    if population is not None:
        fraction = (units or len(table)) / population
        theirs = 1 / (of_row / fraction)
        found |= {"journalist_highest": theirs.max(), "journalist_average": theirs.mean()}
    return found


def diversity(table, quasi, column, *, ordered):
    """Distinct l, entropy l and t of one sensitive column, over all values of the table; null is a value, the first."""
    values = sorted(table[column].dropna().unique())
    places = {value: place + 1 for place, value in enumerate(values)}
    codes = table[column].map(lambda value: 0 if pd.isna(value) else places[value]).astype(int)
    if not table[column].isna().any():
        codes = codes - 1
    most = codes.max() + 1
    whole = np.bincount(codes, minlength=most) / len(table)
    distinct, entropy, closeness = [], [], []
    for _, rows in table.groupby(quasi, dropna=False, sort=False):
        share = np.bincount(codes[rows.index], minlength=most) / len(rows)
        distinct.append(int((share > 0).sum()))
        entropy.append(float(-(share[share > 0] * np.log(share[share > 0])).sum()))
        gap = share - whole
        closeness.append(np.abs(np.cumsum(gap))[:-1].sum() / (most - 1) if ordered and most > 1 else np.abs(gap).sum() / 2)
    return {"distinct_l": min(distinct), "entropy_l": math.exp(min(entropy)), "t": max(closeness), "each_t": sorted(closeness)}


def loss(before, after, *, k, intervals=(), sets=(), texts=()):
    """Information loss of an export, from the table before and the table after it alone."""
    names = [*(f"{name}_{end}" for name in intervals for end in ("low", "high")), *sets, *texts]
    sizes = after.groupby(names, dropna=False).size()
    left_out = len(before) - len(after)
    ncp, generalised = {}, {}
    for name in intervals:
        reach = float(before[name].max()) - float(before[name].min())
        reach = 0.0 if math.isnan(reach) else reach
        each = (after[f"{name}_high"].astype(float) - after[f"{name}_low"].astype(float)).fillna(0.0) / (reach or 1.0)
        ncp[name] = generalised[name] = each.sum()
    for name in sets:
        values = before[name].nunique()
        held = after[name].map(lambda text: 1 if pd.isna(text) else len(json.loads(text))).astype(float)
        ncp[name] = (held / max(values, 1))[held > 1].sum()
        generalised[name] = ((held - 1) / max(values - 1, 1)).sum()
    for name in texts:
        values = before[name].dropna().unique()
        alike = {text: sum(value.startswith(text[:-1]) for value in values) for text in after[name].dropna().unique()}
        alike |= dict.fromkeys(set(values), 0)  # one text, shown as it is
        held = after[name].map(alike).astype(float).fillna(0.0)
        ncp[name] = (held / max(len(values), 1)).sum()
        generalised[name] = ((held - 1) / max(len(values) - 1, 1))[held > 0].sum()
    rows = len(before)
    return {
        "rows": rows,
        "suppressed_rows": left_out,
        "classes": len(sizes),
        "smallest_class": int(sizes.min()) if len(sizes) else 0,
        "discernibility": int((sizes**2).sum()) + left_out * rows,
        "ncp_by_column": {name: (value + left_out) / rows for name, value in ncp.items()},
        "ncp": sum((value + left_out) / rows for value in ncp.values()) / len(ncp),
        "generalised_information_loss": sum((value + left_out) / rows for value in generalised.values()) / len(generalised),
        "average_class_size": len(after) / len(sizes) if len(sizes) else None,
        "normalised_average_class_size": len(after) / len(sizes) / k if len(sizes) else None,
    }


def same(told, expected):
    """Compare figures that travel as decimals of nine places."""
    for name, value in expected.items():
        if isinstance(value, dict):
            same(told[name], value)
        elif value is None:
            assert told[name] is None, name
        else:
            assert math.isclose(float(told[name]), value, rel_tol=1e-8, abs_tol=2e-9), (name, told[name], value)
