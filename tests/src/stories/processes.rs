//! Stories of programs: started as their users start them, from the target folder.
