"""One module per dataset, from its files to cubes that pass their specs; a new one joins the table here."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from stores.errors import InputError
from stores.readers import (
    algonauts2023,
    arrays,
    bids_betas,
    bold5000,
    bold5000_betas,
    ds000117,
    haxby2001,
    it_cshl,
    kay2008,
    kay2008_neuromatch,
    kriegeskorte2008,
    majaj_hong2015,
    mne_evoked,
    mne_files,
    mne_sources,
    nsd,
    nsd_stimuli,
    nwb_units,
    raster,
    spm_betas,
    things_behaviour,
    things_eeg2,
    things_fmri,
    things_fmri_volumes,
    things_meg,
    tvsd,
)
from stores.readers.reader import Reader, table

__all__ = ["READERS", "Reader", "reader"]

READERS: Final[Mapping[str, Reader]] = table(
    [
        algonauts2023.READER,
        arrays.READER,
        bids_betas.READER,
        bold5000.READER,
        bold5000_betas.READER,
        ds000117.READER,
        haxby2001.READER,
        it_cshl.READER,
        kay2008.READER,
        kay2008_neuromatch.READER,
        kriegeskorte2008.READER,
        majaj_hong2015.READER,
        mne_evoked.READER,
        mne_files.READER,
        mne_sources.READER,
        nsd.READER,
        nsd_stimuli.READER,
        nwb_units.READER,
        raster.READER,
        spm_betas.READER,
        things_behaviour.CONCEPTS,
        things_behaviour.CSV,
        things_behaviour.MEMORABILITY,
        things_behaviour.THINGSPLUS,
        things_eeg2.READER,
        things_fmri.READER,
        things_fmri_volumes.READER,
        things_meg.COSMO,
        things_meg.READER,
        tvsd.READER,
    ]
)


def reader(name: str) -> Reader:
    """The reader of this name; InputError lists them all, and the nearest, where there is none."""
    if name not in READERS:
        near = get_close_matches(name, READERS, n=1, cutoff=0.5)
        raise InputError(
            f"no reader {name!r}; there are {', '.join(sorted(READERS))}"
            + (f". Did you mean {near[0]!r}?" if near else "")
        )
    return READERS[name]
