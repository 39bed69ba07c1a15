"""What of a line may be shown: nothing of a secret, and everything else as it stands."""

import pytest

from mta.config.hidden import without_secret
from mta.config.sections import SECTIONS
from mta.settings.directive import directives


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  password a b", "  password (hidden)"),
        ("\tauth-password\ta", "\tauth-password (hidden)"),
        ("tls-certificate /x.pem", "tls-certificate /x.pem"),
        ("tls-certificate /x.pem a b", "tls-certificate /x.pem (hidden)"),
        ("tls-certificate /x.pem\ta b", "tls-certificate /x.pem (hidden)"),
        ("privacy-policy siphash a", "privacy-policy siphash (hidden)"),
        ("http-api-key a", "http-api-key (hidden)"),
        ("auth-pasword a", "auth-pasword (hidden)"),
        ("autpassword a", "autpassword (hidden)"),
        ("smtp-client-certficate /x.pem a", "smtp-client-certficate /x.pem (hidden)"),
        ("acess-tokn a", "acess-tokn (hidden)"),
        ("apikeys a", "apikeys (hidden)"),
        (f"{'x' * 200}-password a", f"{'x' * 200}-password (hidden)"),
        ("password", "password"),
        ("", ""),
        ("   ", "   "),
        ("max-smtp-ou 20", "max-smtp-ou 20"),
        ("domain-key s, d.example, /k.pem", "domain-key s, d.example, /k.pem"),
        ("<smtp-user anna>", "<smtp-user anna>"),
    ],
)
def test_a_line_is_shown_without_what_is_secret(line, shown):
    assert without_secret(line) == shown


def test_no_directive_of_the_language_is_hidden_but_those_with_a_secret():
    for rule in SECTIONS.values():
        for name in directives(rule.scope):
            line = f"{name} one two three"
            has_secret = any(
                (one := directives(other.scope).get(name)) and one.kind.secret_after is not None
                for other in SECTIONS.values()
            )
            assert (without_secret(line) != line) is has_secret
