"""Hand-written building blocks and the reactions that join them.

Every block carries exactly one handle of its class, so that each reaction has one product. The
blocks are everyday fragments of medicinal chemistry written down for this demo; none is taken from
a catalogue or a data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Reaction(NamedTuple):
    """One two-component coupling.

    Attributes
    ----------
    name : str
        The reaction's usual name.
    smarts : str
        Reaction SMARTS with two reactant templates and one product template.
    first, second : str
        Keys of `BLOCKS`; the first reactant's block and the second's.
    """

    name: str
    smarts: str
    first: str
    second: str


def _smiles(text: str) -> tuple[str, ...]:
    """Split SMILES written several to a line."""
    return tuple(text.split())


BLOCKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "amine": _smiles(
            """
            NCc1ccccc1 NCc1ccc(F)cc1 NCc1cccnc1 NCc1ccco1 NCCc1ccccc1 NCCc1c[nH]c2ccccc12
            NC1CCCCC1 NC1CCOCC1 NCC1CC1 NCCOC NCC(F)(F)F NCCN1CCOCC1 NCC1CCCO1 NC1CC1
            NC1CCN(C)CC1 NCc1nccs1 NCc1cnn(C)c1 NCCC(=O)OC NCCS(C)(=O)=O NC(C)c1ccccc1
            C1CCNCC1 C1COCCN1 CN1CCNCC1 O=C1CNCCN1 CC(=O)N1CCNCC1 c1ccc(N2CCNCC2)cc1
            c1ccc(N2CCNCC2)nc1 C1CCNC1 FC1(F)CCNC1 OC1CCNCC1 C1Cc2ccccc2CN1 C1COC2(CN1)CCC2
            CN(C)C1CCNC1 COC1CCNCC1 O=S1(=O)CCNCC1 CNCc1ccccc1 CNC1CCCC1
            Nc1ccccc1 Nc1ccc(F)cc1 Nc1ccc(OC)cc1 Nc1cccc(Cl)c1 Nc1ccc(C#N)cc1 Nc1cccnc1
            Nc1ccc2[nH]ncc2c1 Nc1ccc(N2CCOCC2)cc1 Nc1cnn(C)c1 Nc1ccc2OCOc2c1 Nc1cccc(C(F)(F)F)c1
            """
        ),
        "acid": _smiles(
            """
            OC(=O)c1ccccc1 OC(=O)c1ccc(F)cc1 OC(=O)c1ccc(OC)cc1 OC(=O)c1cccc(Cl)c1
            OC(=O)c1ccc(C#N)cc1 OC(=O)c1cccnc1 OC(=O)c1ccncc1 OC(=O)c1cnccn1 OC(=O)c1ccco1
            OC(=O)c1cccs1 OC(=O)c1cc(C)on1 OC(=O)c1cnn(C)c1 OC(=O)c1c[nH]c2ccccc12
            OC(=O)c1ccc2[nH]cnc2c1 OC(=O)c1ccc2ccccc2c1 OC(=O)c1ccnc2ccccc12 OC(=O)Cc1ccccc1
            OC(=O)Cc1ccc(Cl)cc1 OC(=O)CCc1ccccc1 OC(=O)COc1ccccc1 OC(=O)COc1ccc(F)cc1
            OC(=O)C1CCCCC1 OC(=O)C1CC1 OC(=O)C1CCOCC1 OC(=O)C1CCN(C(C)=O)CC1 OC(=O)C(C)(C)C
            OC(=O)CN1CCOCC1 OC(=O)Cn1cccn1 OC(=O)C1CCC(F)(F)CC1 OC(=O)c1ccc(S(C)(=O)=O)cc1
            OC(=O)c1ccc(NC(C)=O)cc1 OC(=O)c1cccc(C(F)(F)F)c1
            """
        ),
        "aldehyde": _smiles(
            """
            O=Cc1ccccc1 O=Cc1ccc(F)cc1 O=Cc1ccc(Cl)cc1 O=Cc1ccc(OC)cc1 O=Cc1cccnc1 O=Cc1ccco1
            O=Cc1cccs1 O=Cc1c[nH]c2ccccc12 O=Cc1cnn(C)c1 O=CC1CCCCC1 O=CC1CCOCC1 O=Cc1ccc2OCOc2c1
            O=Cc1ccc(C#N)cc1 O=Cc1nccs1 O=CCCc1ccccc1
            """
        ),
        "sulfonyl chloride": _smiles(
            """
            O=S(=O)(Cl)c1ccccc1 O=S(=O)(Cl)c1ccc(C)cc1 O=S(=O)(Cl)c1ccc(F)cc1
            O=S(=O)(Cl)c1ccc(OC)cc1 O=S(=O)(Cl)c1cccc(C#N)c1 O=S(=O)(Cl)c1cccnc1
            O=S(=O)(Cl)c1cccs1 O=S(=O)(Cl)c1cnn(C)c1 O=S(=O)(Cl)C1CC1 O=S(=O)(Cl)CCC
            O=S(=O)(Cl)Cc1ccccc1 O=S(=O)(Cl)c1c(C)noc1C O=S(=O)(Cl)c1ccc2ccccc2c1
            """
        ),
        "isocyanate": _smiles(
            """
            O=C=Nc1ccccc1 O=C=Nc1ccc(F)cc1 O=C=Nc1ccc(OC)cc1 O=C=Nc1cccc(Cl)c1
            O=C=Nc1ccc(C#N)cc1 O=C=NC1CCCCC1 O=C=NCc1ccccc1 O=C=NCC O=C=NC(C)(C)C
            O=C=Nc1cccc(C(F)(F)F)c1
            """
        ),
        "activated chloride": _smiles(
            """
            Clc1ncccn1 Clc1ccnc(C)n1 Clc1ncnc2ccccc12 Clc1nc2ccccc2s1 Clc1ccc(C#N)cn1
            Clc1ncc(C(F)(F)F)cn1 Clc1ccc(C(=O)OC)cn1 Clc1nc(C)nc2sccc12 Clc1ncnc2n(C)cnc12
            Clc1ccc2nncn2n1 Clc1nccc(-c2ccccc2)n1
            """
        ),
        "aryl bromide": _smiles(
            """
            Brc1ccc(C(=O)N2CCOCC2)cc1 Brc1ccc(C(=O)NC2CC2)cc1 Brc1cccc(NC(C)=O)c1
            Brc1ccc(S(=O)(=O)N(C)C)cc1 Brc1cnc(N2CCOCC2)nc1 Brc1ccc2c(c1)CC(=O)N2
            Brc1ccc2ncn(C)c2c1 Brc1cnc2[nH]ccc2c1 Brc1ccc(CN2CCCC2)cc1 Brc1cccc(C(=O)NC)c1
            Brc1ccc(N2CCN(C)CC2)nc1 Brc1cc(C(=O)NCCOC)on1 Brc1cnc2cc(OC)ccn12
            """
        ),
        "bromo acid": _smiles(
            """
            OC(=O)c1ccc(Br)cc1 OC(=O)c1cccc(Br)c1 OC(=O)c1ccc(Br)nc1 OC(=O)c1cncc(Br)c1
            OC(=O)Cc1ccc(Br)cc1 OC(=O)c1ccc(Br)s1
            """
        ),
        "boronic acid": _smiles(
            """
            OB(O)c1ccccc1 OB(O)c1ccc(F)cc1 OB(O)c1ccc(OC)cc1 OB(O)c1cccc(Cl)c1 OB(O)c1ccc(C#N)cc1
            OB(O)c1cccnc1 OB(O)c1ccncc1 OB(O)c1cnn(C)c1 OB(O)c1ccsc1 OB(O)c1ccco1
            OB(O)c1cncnc1 OB(O)c1ccc(C(F)(F)F)cc1 OB(O)c1c(C)noc1C OB(O)c1ccc2OCOc2c1
            """
        ),
    }
)
"""Class of block -> SMILES."""

SUZUKI = Reaction(
    "Suzuki coupling", "[c:1]Br.[c:2]B(O)O>>[c:1]-[c:2]", "aryl bromide", "boronic acid"
)

REACTIONS: tuple[Reaction, ...] = (
    Reaction(
        "amide coupling",
        "[C:1](=[O:2])[OX2H1].[NX3;!H0;!$(N-C=O):3]>>[C:1](=[O:2])-[N:3]",
        "acid",
        "amine",
    ),
    Reaction(
        "reductive amination",
        "[CX3H1:1]=O.[NX3;!H0;!$(N-C=O):2]>>[CH2:1]-[N:2]",
        "aldehyde",
        "amine",
    ),
    Reaction(
        "sulfonamide formation",
        "[S:1](=[O:2])(=[O:3])Cl.[NX3;!H0;!$(N-C=O):4]>>[S:1](=[O:2])(=[O:3])-[N:4]",
        "sulfonyl chloride",
        "amine",
    ),
    Reaction(
        "urea formation",
        "[N:1]=[C:2]=[O:3].[NX3;!H0;!$(N-C=O):4]>>[N:1]-[C:2](=[O:3])-[N:4]",
        "isocyanate",
        "amine",
    ),
    Reaction(
        "SNAr",
        "[c:1]Cl.[NX3;!H0;!$(N-C=O):2]>>[c:1]-[N:2]",
        "activated chloride",
        "amine",
    ),
    SUZUKI,
    Reaction(
        "amide coupling of a biaryl acid",
        "[C:1](=[O:2])[OX2H1].[NX3;!H0;!$(N-C=O):3]>>[C:1](=[O:2])-[N:3]",
        "biaryl acid",
        "amine",
    ),
)
"""The couplings, the last over acids that a Suzuki coupling makes first."""
