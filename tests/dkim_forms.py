"""What a signature is over, by its tags and in our canonical forms."""

from mta.signing.canonical import field_name, relaxed_field, selected


class _Every(dict):
    """All names."""

    def __missing__(self, written):
        return field_name(written)


def covered(canon, block, named, unsigned):
    """The fields of a header block that `named`, an h= tag, lists, and a field without its b=."""
    names, forms = selected(canon, block, _Every())
    found = []
    for name in named:
        if name in names:
            at = names.index(name)
            names.pop(at)
            found.append(forms.pop(at))
    found.append(relaxed_field(unsigned) if canon == "relaxed" else unsigned)
    return b"".join(found)
