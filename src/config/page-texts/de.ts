import type { PageTexts } from './texts.ts';

export const de: PageTexts = {
  signIn: 'Anmelden',
  goToApp: 'Zur App',
  continue: 'Weiter',
  closeWindow: 'Fenster schließen',
  whatDoesThisMean: 'Was bedeutet das?',
  signingIn: 'Anmeldung',
  signedIn: 'Angemeldet',
  signingOut: 'Abmeldung',
  oneMoment: 'Einen Moment …',
  openingApp: 'Die App wird geöffnet …',
  signedOutTitle: 'Sie sind abgemeldet',
  signedOutText: 'Um die App wieder zu nutzen, melden Sie sich an.',
  signedOut: 'Abgemeldet',
  popupTitle: 'Sie sind angemeldet',
  popupText: 'Sie können dieses Fenster schließen.',
  details: 'Details',
  code: 'Code',
  request: 'Anfrage',
  errors: {
    login_required: { title: 'Bitte melden Sie sich an', text: 'Sie müssen angemeldet sein, um das zu sehen.' },
    session_expired: { title: 'Bitte melden Sie sich erneut an', text: 'Ihre Sitzung ist beendet.' },
    step_up_required: {
      title: 'Bitte bestätigen Sie Ihre Identität',
      text: 'Hierfür ist eine stärkere oder neuere Anmeldung nötig. Melden Sie sich erneut an, um fortzufahren.',
    },
    repeat_required: {
      title: 'Bitte versuchen Sie es noch einmal',
      text: 'Ihre Daten sind nicht angekommen. Senden Sie sie noch einmal.',
    },
    navigation_required: {
      title: 'Bitte öffnen Sie die Anmeldeseite',
      text: 'Die Anmeldung ist nur in einem eigenen Fenster oder Tab möglich.',
    },
    request_forbidden: {
      title: 'Anfrage abgelehnt',
      text: 'Sie stammt nicht von der App selbst. Öffnen Sie die App und versuchen Sie es dort noch einmal.',
    },
    access_denied: {
      title: 'Das dürfen Sie nicht',
      text: 'Ihrem Konto fehlt die nötige Berechtigung. Wenn Sie sie haben sollten, wenden Sie sich an Ihren Support.',
    },
    request_invalid: {
      title: 'Ungültige Anfrage',
      text: 'Sie kann so nicht verarbeitet werden. Gehen Sie zurück zur App und versuchen Sie es noch einmal.',
    },
    login_transaction_invalid: {
      title: 'Diese Anmeldung kann nicht abgeschlossen werden',
      text: 'Sie wurde bereits abgeschlossen, hat zu lange gedauert oder wurde in einem anderen Browser begonnen. Bitte melden Sie sich erneut an.',
    },
    return_to_invalid: {
      title: 'Dieser Anmeldelink funktioniert nicht',
      text: 'Er führt nicht zu einer Seite dieser App. Öffnen Sie die App und melden Sie sich dort an.',
    },
    logout_sid_invalid: {
      title: 'Dieser Abmeldelink funktioniert nicht',
      text: 'Er gehört zu einer anderen Sitzung. Sie sind weiterhin angemeldet: Melden Sie sich in der App ab.',
    },
    authorization_failed: {
      title: 'Anmeldung fehlgeschlagen',
      text: 'Sie wurden nicht angemeldet. Versuchen Sie es noch einmal; wenn das nicht hilft, wenden Sie sich an Ihren Support.',
    },
    provider_unavailable: {
      title: 'Die Anmeldung ist derzeit nicht verfügbar',
      text: 'Der Anmeldedienst kann gerade nicht genutzt werden. Bitte versuchen Sie es gleich noch einmal.',
    },
    store_unavailable: {
      title: 'Die App ist derzeit nicht verfügbar',
      text: 'Ihre Sitzung kann gerade nicht geprüft werden. Sie wurden nicht abgemeldet: Bitte versuchen Sie es gleich noch einmal.',
    },
    upstream_unavailable: {
      title: 'Die App ist derzeit nicht verfügbar',
      text: 'Ein Server dieser App ist nicht erreichbar. Bitte versuchen Sie es gleich noch einmal.',
    },
    upstream_timeout: {
      title: 'Das hat zu lange gedauert',
      text: 'Ein Server dieser App hat nicht rechtzeitig geantwortet. Bitte versuchen Sie es gleich noch einmal.',
    },
    route_not_found: { title: 'Seite nicht gefunden', text: 'Unter dieser Adresse gibt es nichts.' },
    method_not_allowed: {
      title: 'Das geht hier nicht',
      text: 'Diese Adresse nimmt solche Anfragen nicht an.',
    },
    body_too_large: { title: 'Das ist zu groß', text: 'Sie haben mehr gesendet, als diese App annimmt.' },
    too_many_requests: {
      title: 'Zu viele Anfragen',
      text: 'Die App ist gerade stark ausgelastet. Bitte versuchen Sie es gleich noch einmal.',
    },
    internal_error: {
      title: 'Etwas ist schiefgegangen',
      text: 'Bitte versuchen Sie es noch einmal. Wenn das Problem bestehen bleibt, nennen Sie Ihrem Support die Nummer der Anfrage unten.',
    },
    setup: {
      title: 'Die Anmeldung ist nicht richtig eingerichtet',
      text: 'Sie können das nicht selbst beheben. Bitte informieren Sie die Betreiber dieser App.',
    },
    sign_in_too_weak: {
      title: 'Diese Anmeldung reicht nicht aus',
      text: 'Der Anmeldedienst hat nicht so viel geprüft, wie die App für Ihr Vorhaben verlangt. Es hat sich nichts geändert: Gehen Sie zurück zur App. Wenn es wieder geschieht, wenden Sie sich an Ihren Support.',
    },
  },
};
