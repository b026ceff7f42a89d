import type { PageTexts } from './texts.ts';

export const it: PageTexts = {
  signIn: 'Accedi',
  goToApp: 'Vai all’app',
  continue: 'Continua',
  closeWindow: 'Chiudi questa finestra',
  whatDoesThisMean: 'Che cosa significa?',
  signingIn: 'Accesso in corso',
  signedIn: 'Accesso effettuato',
  signingOut: 'Disconnessione in corso',
  oneMoment: 'Un momento…',
  openingApp: 'Apertura dell’app…',
  signedOutTitle: 'Hai effettuato la disconnessione',
  signedOutText: 'Per usare di nuovo l’app, accedi.',
  signedOut: 'Disconnessione effettuata',
  popupTitle: 'Hai effettuato l’accesso',
  popupText: 'Puoi chiudere questa finestra.',
  details: 'Dettagli',
  code: 'Codice',
  request: 'Richiesta',
  errors: {
    login_required: { title: 'Accedi per continuare', text: 'Per vedere questa pagina devi accedere.' },
    session_expired: { title: 'Accedi di nuovo', text: 'La tua sessione è terminata.' },
    step_up_required: {
      title: 'Conferma la tua identità',
      text: 'È necessario un accesso più sicuro o più recente. Accedi di nuovo per continuare.',
    },
    repeat_required: { title: 'Riprova', text: 'Ciò che hai inviato non è arrivato. Invialo di nuovo.' },
    navigation_required: {
      title: 'Apri la pagina di accesso',
      text: 'L’accesso è possibile solo in una finestra o in una scheda a sé.',
    },
    request_forbidden: {
      title: 'Richiesta rifiutata',
      text: 'Non proviene dall’app stessa. Apri l’app e riprova da lì.',
    },
    access_denied: {
      title: 'Non hai l’autorizzazione',
      text: 'Al tuo account manca l’autorizzazione necessaria. Se dovresti averla, rivolgiti all’assistenza.',
    },
    request_invalid: {
      title: 'Richiesta non valida',
      text: 'Così com’è non può essere elaborata. Torna all’app e riprova.',
    },
    login_transaction_invalid: {
      title: 'Non è possibile completare questo accesso',
      text: 'È già stato completato, ha richiesto troppo tempo o è stato avviato in un altro browser. Accedi di nuovo.',
    },
    return_to_invalid: {
      title: 'Questo link di accesso non funziona',
      text: 'Non porta a una pagina di questa app. Apri l’app e accedi da lì.',
    },
    logout_sid_invalid: {
      title: 'Questo link di disconnessione non funziona',
      text: 'Appartiene a un’altra sessione. La tua sessione è ancora attiva: disconnettiti dall’app.',
    },
    authorization_failed: {
      title: 'Accesso non riuscito',
      text: 'Riprova; se non funziona, rivolgiti all’assistenza.',
    },
    provider_unavailable: {
      title: 'L’accesso non è disponibile al momento',
      text: 'Il provider di identità non può essere usato ora. Riprova tra qualche istante.',
    },
    store_unavailable: {
      title: 'L’app non è disponibile al momento',
      text: 'Ora non è possibile verificare la tua sessione. Non è stata chiusa: riprova tra qualche istante.',
    },
    upstream_unavailable: {
      title: 'L’app non è disponibile al momento',
      text: 'Un server di questa app non è raggiungibile. Riprova tra qualche istante.',
    },
    upstream_timeout: {
      title: 'L’attesa è stata troppo lunga',
      text: 'Un server di questa app non ha risposto in tempo. Riprova tra qualche istante.',
    },
    route_not_found: { title: 'Pagina non trovata', text: 'A questo indirizzo non c’è nulla.' },
    method_not_allowed: {
      title: 'Qui non è possibile',
      text: 'Questo indirizzo non accetta richieste di questo tipo.',
    },
    body_too_large: {
      title: 'L’invio è troppo grande',
      text: 'Hai inviato più dati di quanti ne accetti questa app.',
    },
    too_many_requests: {
      title: 'Troppe richieste',
      text: 'L’app è molto occupata in questo momento. Riprova tra qualche istante.',
    },
    internal_error: {
      title: 'Si è verificato un errore',
      text: 'Riprova. Se il problema persiste, comunica all’assistenza il numero della richiesta qui sotto.',
    },
    setup: {
      title: 'L’accesso non è configurato correttamente',
      text: 'Non puoi risolvere il problema da te. Avvisa chi gestisce questa app.',
    },
    sign_in_too_weak: {
      title: 'Questo accesso non basta',
      text: 'Il servizio di accesso non ha verificato tutto ciò che l’app richiede per questa operazione. Non è cambiato nulla: torna all’app. Se succede di nuovo, rivolgiti all’assistenza.',
    },
  },
};
