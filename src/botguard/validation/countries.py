"""Names of countries for messages about phone numbers, in English (as after "for"), German and Russian.

phonenumbers has such names in many languages, but only beside its data on places: loading those takes 0.4 s
and would do so in the middle of a person's first mistake. A host that needs another language adds sentences
named ``country.GB`` with :func:`~botguard.validation.add_sentences`.
"""

from __future__ import annotations

from functools import cache

from botguard.messages.locales import fallbacks

__all__ = ["country_name", "regions"]

#: "XX English|German; …"; one name where both are equal.
_NAMES = """
AC Ascension Island|Ascension; AD Andorra; AE the United Arab Emirates|Vereinigte Arabische Emirate;
AF Afghanistan; AG Antigua and Barbuda|Antigua und Barbuda; AI Anguilla; AL Albania|Albanien;
AM Armenia|Armenien; AO Angola; AR Argentina|Argentinien; AS American Samoa|Amerikanisch-Samoa;
AT Austria|Österreich; AU Australia|Australien; AW Aruba; AX the Åland Islands|Åland-Inseln;
AZ Azerbaijan|Aserbaidschan; BA Bosnia and Herzegovina|Bosnien und Herzegowina; BB Barbados;
BD Bangladesh|Bangladesch; BE Belgium|Belgien; BF Burkina Faso; BG Bulgaria|Bulgarien; BH Bahrain;
BI Burundi; BJ Benin; BL Saint Barthélemy|St. Barthélemy; BM Bermuda; BN Brunei; BO Bolivia|Bolivien;
BQ the Caribbean Netherlands|Karibische Niederlande; BR Brazil|Brasilien; BS the Bahamas|Bahamas;
BT Bhutan; BW Botswana|Botsuana; BY Belarus; BZ Belize; CA Canada|Kanada; CC the Cocos Islands|Kokosinseln;
CD the Democratic Republic of the Congo|Demokratische Republik Kongo;
CF the Central African Republic|Zentralafrikanische Republik; CG the Republic of the Congo|Republik Kongo;
CH Switzerland|Schweiz; CI Côte d'Ivoire|Elfenbeinküste; CK the Cook Islands|Cookinseln; CL Chile;
CM Cameroon|Kamerun; CN China; CO Colombia|Kolumbien; CR Costa Rica; CU Cuba|Kuba; CV Cabo Verde|Kap Verde;
CW Curaçao; CX Christmas Island|Weihnachtsinsel; CY Cyprus|Zypern; CZ Czechia|Tschechien;
DE Germany|Deutschland; DJ Djibouti|Dschibuti; DK Denmark|Dänemark; DM Dominica;
DO the Dominican Republic|Dominikanische Republik; DZ Algeria|Algerien; EC Ecuador; EE Estonia|Estland;
EG Egypt|Ägypten; EH Western Sahara|Westsahara; ER Eritrea; ES Spain|Spanien; ET Ethiopia|Äthiopien;
FI Finland|Finnland; FJ Fiji|Fidschi; FK the Falkland Islands|Falklandinseln; FM Micronesia|Mikronesien;
FO the Faroe Islands|Färöer; FR France|Frankreich; GA Gabon|Gabun;
GB the United Kingdom|Vereinigtes Königreich; GD Grenada; GE Georgia|Georgien;
GF French Guiana|Französisch-Guayana; GG Guernsey; GH Ghana; GI Gibraltar; GL Greenland|Grönland;
GM the Gambia|Gambia; GN Guinea; GP Guadeloupe; GQ Equatorial Guinea|Äquatorialguinea;
GR Greece|Griechenland; GT Guatemala; GU Guam; GW Guinea-Bissau; GY Guyana; HK Hong Kong|Hongkong;
HN Honduras; HR Croatia|Kroatien; HT Haiti; HU Hungary|Ungarn; ID Indonesia|Indonesien; IE Ireland|Irland;
IL Israel; IM the Isle of Man|Isle of Man; IN India|Indien;
IO the British Indian Ocean Territory|Britisches Territorium im Indischen Ozean; IQ Iraq|Irak; IR Iran;
IS Iceland|Island; IT Italy|Italien; JE Jersey; JM Jamaica|Jamaika; JO Jordan|Jordanien; JP Japan;
KE Kenya|Kenia; KG Kyrgyzstan|Kirgistan; KH Cambodia|Kambodscha; KI Kiribati; KM the Comoros|Komoren;
KN Saint Kitts and Nevis|St. Kitts und Nevis; KP North Korea|Nordkorea; KR South Korea|Südkorea; KW Kuwait;
KY the Cayman Islands|Kaimaninseln; KZ Kazakhstan|Kasachstan; LA Laos; LB Lebanon|Libanon;
LC Saint Lucia|St. Lucia; LI Liechtenstein; LK Sri Lanka; LR Liberia; LS Lesotho; LT Lithuania|Litauen;
LU Luxembourg|Luxemburg; LV Latvia|Lettland; LY Libya|Libyen; MA Morocco|Marokko; MC Monaco;
MD Moldova|Moldau; ME Montenegro; MF Saint Martin|St. Martin; MG Madagascar|Madagaskar;
MH the Marshall Islands|Marshallinseln; MK North Macedonia|Nordmazedonien; ML Mali; MM Myanmar;
MN Mongolia|Mongolei; MO Macao|Macau; MP the Northern Mariana Islands|Nördliche Marianen; MQ Martinique;
MR Mauritania|Mauretanien; MS Montserrat; MT Malta; MU Mauritius; MV the Maldives|Maldiven; MW Malawi;
MX Mexico|Mexiko; MY Malaysia; MZ Mozambique|Mosambik; NA Namibia; NC New Caledonia|Neukaledonien;
NE Niger; NF Norfolk Island|Norfolkinsel; NG Nigeria; NI Nicaragua; NL the Netherlands|Niederlande;
NO Norway|Norwegen; NP Nepal; NR Nauru; NU Niue; NZ New Zealand|Neuseeland; OM Oman; PA Panama; PE Peru;
PF French Polynesia|Französisch-Polynesien; PG Papua New Guinea|Papua-Neuguinea;
PH the Philippines|Philippinen; PK Pakistan; PL Poland|Polen;
PM Saint Pierre and Miquelon|St. Pierre und Miquelon; PR Puerto Rico; PS Palestine|Palästina; PT Portugal;
PW Palau; PY Paraguay; QA Qatar|Katar; RE Réunion; RO Romania|Rumänien; RS Serbia|Serbien;
RU Russia|Russland; RW Rwanda|Ruanda; SA Saudi Arabia|Saudi-Arabien; SB the Solomon Islands|Salomonen;
SC Seychelles|Seychellen; SD Sudan; SE Sweden|Schweden; SG Singapore|Singapur; SH Saint Helena|St. Helena;
SI Slovenia|Slowenien; SJ Svalbard and Jan Mayen|Svalbard und Jan Mayen; SK Slovakia|Slowakei;
SL Sierra Leone; SM San Marino; SN Senegal; SO Somalia; SR Suriname; SS South Sudan|Südsudan;
ST São Tomé and Príncipe|São Tomé und Príncipe; SV El Salvador; SX Sint Maarten; SY Syria|Syrien;
SZ Eswatini; TA Tristan da Cunha; TC the Turks and Caicos Islands|Turks- und Caicosinseln; TD Chad|Tschad;
TG Togo; TH Thailand; TJ Tajikistan|Tadschikistan; TK Tokelau; TL Timor-Leste; TM Turkmenistan;
TN Tunisia|Tunesien; TO Tonga; TR Türkiye|Türkei; TT Trinidad and Tobago|Trinidad und Tobago; TV Tuvalu;
TW Taiwan; TZ Tanzania|Tansania; UA Ukraine; UG Uganda; US the United States|Vereinigte Staaten;
UY Uruguay; UZ Uzbekistan|Usbekistan; VA Vatican City|Vatikanstadt;
VC Saint Vincent and the Grenadines|St. Vincent und die Grenadinen; VE Venezuela;
VG the British Virgin Islands|Britische Jungferninseln;
VI the U.S. Virgin Islands|Amerikanische Jungferninseln; VN Vietnam; VU Vanuatu;
WF Wallis and Futuna|Wallis und Futuna; WS Samoa; XK Kosovo; YE Yemen|Jemen; YT Mayotte;
ZA South Africa|Südafrika; ZM Zambia|Sambia; ZW Zimbabwe|Simbabwe
"""


@cache
def _table() -> dict[str, tuple[str, str]]:
    found = {}
    for row in _NAMES.replace("\n", " ").split(";"):
        region, _, names = row.strip().partition(" ")
        english, _, german = names.partition("|")
        found[region] = (english, german or english)
    return found


def regions() -> frozenset[str]:
    """Two-letter codes of every region that has a name here."""
    return frozenset(_table())


def country_name(region: str, locale: str = "en") -> str:
    """The country's name in a built-in language of the locale, else in English; the code where it has no name."""
    english, german = _table().get(region, (region, region))
    for language in fallbacks(locale):
        if language == "de":
            return german
        if language == "ru":
            from botguard.validation.russian_countries import NAMES

            return NAMES.get(region, region)
    return english
