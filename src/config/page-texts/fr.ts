import type { PageTexts } from './texts.ts';

export const fr: PageTexts = {
  signIn: 'Se connecter',
  goToApp: 'Aller à l’application',
  continue: 'Continuer',
  closeWindow: 'Fermer cette fenêtre',
  whatDoesThisMean: 'Qu’est-ce que cela signifie ?',
  signingIn: 'Connexion en cours',
  signedIn: 'Connexion réussie',
  signingOut: 'Déconnexion en cours',
  oneMoment: 'Un instant…',
  openingApp: 'Ouverture de l’application…',
  signedOutTitle: 'Déconnexion réussie',
  signedOutText: 'Pour utiliser de nouveau l’application, connectez-vous.',
  signedOut: 'Déconnexion effectuée',
  popupTitle: 'Connexion réussie',
  popupText: 'Vous pouvez fermer cette fenêtre.',
  details: 'Détails',
  code: 'Code',
  request: 'Requête',
  errors: {
    login_required: { title: 'Veuillez vous connecter', text: 'Vous devez vous connecter pour voir cette page.' },
    session_expired: { title: 'Veuillez vous reconnecter', text: 'Votre session est terminée.' },
    step_up_required: {
      title: 'Veuillez confirmer votre identité',
      text: 'Une connexion plus récente ou plus sûre est nécessaire. Reconnectez-vous pour continuer.',
    },
    repeat_required: {
      title: 'Veuillez réessayer',
      text: 'Ce que vous avez envoyé n’est pas arrivé. Envoyez-le une nouvelle fois.',
    },
    navigation_required: {
      title: 'Veuillez ouvrir la page de connexion',
      text: 'La connexion n’est possible que dans une fenêtre ou un onglet à part.',
    },
    request_forbidden: {
      title: 'Requête refusée',
      text: 'Elle ne vient pas de l’application elle-même. Ouvrez l’application et réessayez à partir de là.',
    },
    access_denied: {
      title: 'Vous n’y êtes pas autorisé',
      text: 'Votre compte n’a pas l’autorisation nécessaire. Si vous devriez l’avoir, adressez-vous à votre service d’assistance.',
    },
    request_invalid: {
      title: 'Requête non valide',
      text: 'Elle ne peut pas être traitée telle quelle. Retournez à l’application et réessayez.',
    },
    login_transaction_invalid: {
      title: 'Cette connexion ne peut pas aboutir',
      text: 'Elle a déjà été effectuée, a pris trop de temps ou a été commencée dans un autre navigateur. Veuillez vous reconnecter.',
    },
    return_to_invalid: {
      title: 'Ce lien de connexion ne fonctionne pas',
      text: 'Il ne mène pas à une page de cette application. Ouvrez l’application et connectez-vous à partir de là.',
    },
    logout_sid_invalid: {
      title: 'Ce lien de déconnexion ne fonctionne pas',
      text: 'Il appartient à une autre session. La vôtre reste ouverte : déconnectez-vous depuis l’application.',
    },
    authorization_failed: {
      title: 'Échec de la connexion',
      text: 'Réessayez ; si cela ne suffit pas, adressez-vous à votre service d’assistance.',
    },
    provider_unavailable: {
      title: 'La connexion est momentanément indisponible',
      text: 'Le fournisseur d’identité est inutilisable pour le moment. Veuillez réessayer dans un instant.',
    },
    store_unavailable: {
      title: 'L’application est momentanément indisponible',
      text: 'Votre session ne peut pas être vérifiée pour le moment. Elle reste ouverte : veuillez réessayer dans un instant.',
    },
    upstream_unavailable: {
      title: 'L’application est momentanément indisponible',
      text: 'Un serveur de cette application est injoignable. Veuillez réessayer dans un instant.',
    },
    upstream_timeout: {
      title: 'Le délai d’attente est dépassé',
      text: 'Un serveur de cette application n’a pas répondu à temps. Veuillez réessayer dans un instant.',
    },
    route_not_found: { title: 'Page introuvable', text: 'Il n’y a rien à cette adresse.' },
    method_not_allowed: {
      title: 'Cela n’est pas possible ici',
      text: 'Cette adresse n’accepte pas ce genre de requêtes.',
    },
    body_too_large: {
      title: 'L’envoi est trop volumineux',
      text: 'Vous avez envoyé plus de données que cette application n’en accepte.',
    },
    too_many_requests: {
      title: 'Trop de requêtes',
      text: 'L’application est très sollicitée en ce moment. Veuillez réessayer dans un instant.',
    },
    internal_error: {
      title: 'Une erreur s’est produite',
      text: 'Veuillez réessayer. Si le problème persiste, communiquez à votre service d’assistance le numéro de la requête ci-dessous.',
    },
    setup: {
      title: 'La connexion n’est pas configurée correctement',
      text: 'Vous ne pouvez pas y remédier vous-même. Veuillez prévenir les responsables de cette application.',
    },
    sign_in_too_weak: {
      title: 'Cette connexion ne suffit pas',
      text: 'Le service de connexion n’a pas vérifié tout ce que l’application exige pour cette action. Rien n’a changé : revenez à l’application. Si cela se reproduit, adressez-vous à votre service d’assistance.',
    },
  },
};
