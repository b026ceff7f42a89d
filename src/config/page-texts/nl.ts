import type { PageTexts } from './texts.ts';

export const nl: PageTexts = {
  signIn: 'Inloggen',
  goToApp: 'Naar de app',
  continue: 'Doorgaan',
  closeWindow: 'Dit venster sluiten',
  whatDoesThisMean: 'Wat betekent dit?',
  signingIn: 'Bezig met inloggen',
  signedIn: 'Ingelogd',
  signingOut: 'Bezig met uitloggen',
  oneMoment: 'Een ogenblik …',
  openingApp: 'De app wordt geopend …',
  signedOutTitle: 'U bent uitgelogd',
  signedOutText: 'Log in om de app weer te gebruiken.',
  signedOut: 'Uitgelogd',
  popupTitle: 'U bent ingelogd',
  popupText: 'U kunt dit venster sluiten.',
  details: 'Details',
  code: 'Code',
  request: 'Verzoek',
  errors: {
    login_required: { title: 'Log in', text: 'U moet ingelogd zijn om dit te zien.' },
    session_expired: { title: 'Log opnieuw in', text: 'Uw sessie is beëindigd.' },
    step_up_required: {
      title: 'Bevestig uw identiteit',
      text: 'Hiervoor is een sterkere of recentere login nodig. Log opnieuw in om door te gaan.',
    },
    repeat_required: {
      title: 'Probeer het opnieuw',
      text: 'Wat u hebt verstuurd, is niet aangekomen. Verstuur het nog een keer.',
    },
    navigation_required: {
      title: 'Open de inlogpagina',
      text: 'Inloggen kan alleen in een eigen venster of tabblad.',
    },
    request_forbidden: {
      title: 'Verzoek geweigerd',
      text: 'Het komt niet van de app zelf. Open de app en probeer het van daaruit opnieuw.',
    },
    access_denied: {
      title: 'U mag dit niet doen',
      text: 'Uw account heeft het recht niet dat hiervoor nodig is. Hoort u het te hebben, neem dan contact op met de helpdesk.',
    },
    request_invalid: {
      title: 'Ongeldig verzoek',
      text: 'Het kan zo niet worden verwerkt. Ga terug naar de app en probeer het opnieuw.',
    },
    login_transaction_invalid: {
      title: 'Deze login kan niet worden voltooid',
      text: 'De login was al voltooid, duurde te lang of is in een andere browser begonnen. Log opnieuw in.',
    },
    return_to_invalid: {
      title: 'Deze inloglink werkt niet',
      text: 'De link leidt niet naar een pagina van deze app. Open de app en log van daaruit in.',
    },
    logout_sid_invalid: {
      title: 'Deze uitloglink werkt niet',
      text: 'De link hoort bij een andere sessie. U bent nog ingelogd: log uit vanuit de app.',
    },
    authorization_failed: {
      title: 'Inloggen is mislukt',
      text: 'U bent niet ingelogd. Probeer het opnieuw; helpt dat niet, neem dan contact op met de helpdesk.',
    },
    provider_unavailable: {
      title: 'Inloggen is op dit moment niet mogelijk',
      text: 'De identiteitsprovider is nu niet te gebruiken. Probeer het zo meteen opnieuw.',
    },
    store_unavailable: {
      title: 'De app is op dit moment niet beschikbaar',
      text: 'Uw sessie kan nu niet worden gecontroleerd. U bent niet uitgelogd: probeer het zo meteen opnieuw.',
    },
    upstream_unavailable: {
      title: 'De app is op dit moment niet beschikbaar',
      text: 'Een server van deze app is niet bereikbaar. Probeer het zo meteen opnieuw.',
    },
    upstream_timeout: {
      title: 'Dit duurde te lang',
      text: 'Een server van deze app heeft niet op tijd geantwoord. Probeer het zo meteen opnieuw.',
    },
    route_not_found: { title: 'Pagina niet gevonden', text: 'Op dit adres is niets te vinden.' },
    method_not_allowed: { title: 'Dit kan hier niet', text: 'Dit adres accepteert zulke verzoeken niet.' },
    body_too_large: { title: 'Dit is te groot', text: 'U hebt meer verstuurd dan deze app accepteert.' },
    too_many_requests: {
      title: 'Te veel verzoeken',
      text: 'De app heeft het op dit moment erg druk. Probeer het zo meteen opnieuw.',
    },
    internal_error: {
      title: 'Er is iets misgegaan',
      text: 'Probeer het opnieuw. Blijft het misgaan, geef dan het nummer van het verzoek hieronder door aan de helpdesk.',
    },
    setup: {
      title: 'Het inloggen is niet goed ingesteld',
      text: 'U kunt dit niet zelf verhelpen. Waarschuw de beheerders van deze app.',
    },
    sign_in_too_weak: {
      title: 'Deze login is niet voldoende',
      text: 'De inlogdienst heeft niet alles gecontroleerd wat de app hiervoor nodig heeft. Er is niets veranderd: ga terug naar de app. Gebeurt het opnieuw, neem dan contact op met de helpdesk.',
    },
  },
};
